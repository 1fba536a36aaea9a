"""Prepares the pages of Prefect's user interface, then becomes the server.

    python user_interface.py FOLDER COMMAND...

Prefect has two user interfaces. The newer one is used everywhere: an address of the older one leads to the
same page of the newer. The newer one calls an analytics host, which a policy in its page forbids the browser.
Imports the standard library alone: it also runs in Prefect's own image.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

BASE = "/v2"
PLACEHOLDER = "/PREFECT_UI_SERVE_BASE_REPLACE_PLACEHOLDER"
TEXTS = {".css", ".html", ".js", ".json", ".txt"}
REFERENCE = "UI_SERVE_BASE"
POLICY = "connect-src 'self' ws: wss:{api}; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:"
"""What the page may call and run; without it a logged-in browser tells a third party of its visits."""
OLD_PAGE = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="UTF-8"><title>Prefect</title>
<script>location.replace("{BASE}" + location.pathname + location.search + location.hash)</script>
</head><body><a href="{BASE}/">Prefect</a></body></html>
"""


def prepare(folder: Path, api_url: str = "") -> None:
    """Writes both interfaces where the server looks for them, as it would write them itself."""
    prefect = _package()
    version = importlib.metadata.version("prefect")
    newer, older = folder / "v2", folder / "v1"
    for written in (newer, older):
        shutil.rmtree(written, ignore_errors=True)
    shutil.copytree(prefect / "server" / "ui-v2", newer)
    for file in newer.rglob("*"):
        if file.suffix in TEXTS and PLACEHOLDER in (text := file.read_text(encoding="utf-8")):
            file.write_text(text.replace(PLACEHOLDER, BASE), encoding="utf-8")
    page = newer / "index.html"
    page.write_text(_with_policy(page.read_text(encoding="utf-8"), api_url), encoding="utf-8")
    older.mkdir(parents=True)
    (older / "index.html").write_text(OLD_PAGE, encoding="utf-8")
    (newer / REFERENCE).write_text(f"v2:{version}:{BASE}")
    (older / REFERENCE).write_text(f"v1:{version}:/")


def _package() -> Path:
    found = importlib.util.find_spec("prefect")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("There is no Prefect here.")
    return Path(found.origin).parent


def _with_policy(page: str, api_url: str) -> str:
    address = urlsplit(api_url)
    other = f" {address.scheme}://{address.netloc}" if address.netloc else ""
    policy = POLICY.format(api=other)
    head, tag, rest = page.partition("<head>")
    return f'{head}{tag}<meta http-equiv="Content-Security-Policy" content="{policy}">{rest}'


def main() -> None:
    """Prepares, and becomes the command."""
    folder, *command = sys.argv[1:]
    prepare(Path(folder), os.environ.get("PREFECT_UI_API_URL", ""))
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
