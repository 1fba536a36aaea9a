"""What a build came to, in words of its own: product, version, package."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flows.build.package_document import Published
from flows.build.recipe.lock import Lock
from larder.published import Publishing
from larder.report import Ended, Link, Report, cell, error_document, saved, step_document, table

SHOWN_STAGES = ("plan", "load", "model", "command", "build", "package")
SAID = {
    Publishing.PUBLISHED: "The {kind} is new, or other than before.",
    Publishing.UNCHANGED: "The {kind} is what it was.",
    Publishing.REPAIRED: "The {kind} was damaged and is whole again.",
    Publishing.KEPT: "A real build published this version; a simulated one does not replace it.",
}


class BuildReport(Report):
    """The document, lines and page of a build."""

    def __init__(self) -> None:
        super().__init__(build_sections)

    def document(self, ended: Ended) -> dict[str, Any]:
        """The document that `larder build --json` prints."""
        done = ended.state == "completed"
        return {
            "state": ended.state,
            "flow_run_id": ended.flow_run_id,
            "product": ended.label("product"),
            "version": ended.label("version"),
            "recipe_hash": ended.label("recipe_hash"),
            "stages": [step_document(step, "dataset") for step in ended.steps if step.stage in SHOWN_STAGES],
            "package": _package(ended.value) if done and isinstance(ended.value, Published) else None,
            "error": error_document(ended.error) if ended.error else None,
        }

    def end(self, document: Mapping[str, Any]) -> Iterator[str]:
        """The package, and where it is."""
        package = document["package"]
        size = sum(file["bytes"] for file in package["files"])
        yield (
            f"{document['product']} {document['version']}: {package['publish']}, "
            f"{len(package['files'])} files, {size:,} bytes"
        )
        if package["publish"] == Publishing.KEPT:
            yield SAID[Publishing.KEPT]
        yield f"Package: {package['uri']}"

    def nothing_to_do(self, document: Mapping[str, Any]) -> str:
        """The version that is there."""
        return f"{document['product']} {document['version']}: nothing to do"

    def key(self, ended: Ended) -> str:
        """One page per product."""
        return f"{ended.label('product') or 'build'}-build"

    def heading(self, ended: Ended) -> str:
        """Product, version, and what publishing came to."""
        if ended.error is not None or not isinstance(ended.value, Published):
            return f"# Failed\n\n{cell(ended.error or 'The run did not come to its end.')}"
        document = ended.value.document
        kind = "simulated package" if document.simulated else "package"
        said = SAID[ended.value.publish].format(kind=kind)
        rows = _product_rows(ended)
        made = f" It holds {rows:,} rows." if rows is not None else ""
        name = f"{document.product} {document.version}"
        return f"# {name}: {ended.value.publish}\n\n{said}{made} {saved(ended.steps)}"


def build_sections(ended: Ended, link: Link) -> Iterable[str]:
    """The versions of the inputs and the files of the package, for the page."""
    if isinstance(lock := ended.values.get("plan"), Lock):
        rows = [
            (entry.name, entry.dataset.id, entry.dataset.version, entry.dataset.file_type)
            for entry in lock.inputs
        ]
        yield "## Versions\n\n" + table(("input", "dataset", "version", "file type"), rows)
    if isinstance(published := ended.value, Published):
        above = published.uri.rsplit("/", 1)[0]
        files = [
            (link(f"{above}/{file.name}", file.name), f"{file.bytes:,}", f"`{file.sha256:.12}`")
            for file in published.files
        ]
        head = f"## Package\n\n{link(published.uri, 'package.json')}\n\n"
        yield head + table(("file", "bytes", "sha256"), files)


def _product_rows(ended: Ended) -> int | None:
    """The rows of the product's tables, however many files hold them."""
    return next((step.rows for step in ended.steps if step.stage == "build"), None)


def _package(published: Published) -> dict[str, Any]:
    files = [{"name": file.name, "bytes": file.bytes, "sha256": file.sha256} for file in published.files]
    return {"uri": published.uri, "publish": published.publish, "files": files}
