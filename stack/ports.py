"""Free ports of 127.0.0.1."""

import json
import random
import socket
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

HOST = "127.0.0.1"
RANGE = range(15000, 30000)
"""Below the ports that systems give to outgoing connections, so that a port stays free between two starts."""


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Different ports on which nothing listens."""
    found = _free()
    return [next(found) for _ in range(count)]


def kept_ports(file: Path, names: Sequence[str], in_use: Collection[str] = ()) -> dict[str, int]:
    """One port for each name, kept in `file`; one that was taken by somebody else is replaced.

    `in_use` names the ports on which our own servers listen now.
    """
    kept = {name: port for name, port in _read(file).items() if name in in_use or is_free(port)}
    missing = [name for name in names if name not in kept]
    ports = kept | dict(zip(missing, free_ports(len(missing)), strict=True))
    if missing:
        written = file.with_suffix(".new")
        written.write_text(json.dumps(ports, indent=1))
        written.replace(file)
    return ports


def _read(file: Path) -> dict[str, int]:
    try:
        return {str(name): int(port) for name, port in json.loads(file.read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _free() -> Iterator[int]:
    for port in random.SystemRandom().sample(RANGE, len(RANGE)):
        if is_free(port):
            yield port
