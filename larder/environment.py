"""What other projects left in the environment changes nothing between Larder and its own store and server."""

from collections.abc import Mapping, MutableMapping
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PREFECT_HOME = "PREFECT_HOME"


def settle(environ: MutableMapping[str, str], own: Mapping[str, str], prefect_home: str) -> None:
    """Put what a home says of its own stack into an environment, before Prefect is imported.

    A variable of ours that is given wins. Prefect's do not where the home has a server: they, and the
    profile of whoever is at work, are those of another one. The server is reached past any proxy.

    Args:
        own: what the home's file says, `LARDER_*` and `PREFECT_*`
        prefect_home: where Prefect keeps what it remembers of that server
    """
    if "PREFECT_API_URL" in own:
        forget_prefect(environ)
        environ[PREFECT_HOME] = prefect_home
        environ.update({name: value for name, value in own.items() if name.startswith("PREFECT_")})
    for name, value in own.items():
        environ.setdefault(name, value)
    reach_directly(environ, urlsplit(environ.get("PREFECT_API_URL", "")).hostname or "")


def forget_prefect(environ: MutableMapping[str, str]) -> None:
    """Take every setting of Prefect out of an environment."""
    for name in [name for name in environ if name.upper().startswith("PREFECT_")]:
        del environ[name]


def reach_directly(environ: MutableMapping[str, str], *hosts: str) -> None:
    """Let proxies stand between nobody and these hosts, or this machine.

    SOCKS proxies, and one for everything, are taken out: Prefect's client fails to start where one is
    named, and nothing that reads a catalog can use one.
    """
    proxies = [name for name in environ if name.lower().endswith("_proxy") and name.lower() != "no_proxy"]
    for name in proxies:
        if name.lower() == "all_proxy" or environ[name].lower().startswith("socks"):
            del environ[name]
    given = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    direct = dict.fromkeys(host.strip() for host in (*given.split(","), *LOOPBACK, *hosts) if host.strip())
    environ["NO_PROXY"] = environ["no_proxy"] = ",".join(direct)
