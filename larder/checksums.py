"""Checksums of local files, whole and by the parts in which they are sent."""

import base64
import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PART_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Sums:
    """Checksums of a local file: its sha256, and sha256 of each part as it will be sent."""

    sha256: str
    size: int
    parts: tuple[bytes, ...]

    @property
    def stored(self) -> str:
        """What the store calls the checksum of the whole object."""
        if len(self.parts) == 1:
            return as_base64(self.parts[0])
        return f"{as_base64(hashlib.sha256(b''.join(self.parts)).digest())}-{len(self.parts)}"


def sums_of(path: Path) -> Sums:
    """Checksums of a file, read once; its parts' are made beside the whole's."""
    whole = hashlib.sha256()
    parts: list[Future[bytes]] = []
    size = 0
    with path.open("rb") as file, ThreadPoolExecutor(1) as beside:
        while (content := file.read(PART_BYTES)) or not parts:
            parts.append(beside.submit(_sha256, content))
            whole.update(content)
            size += len(content)
            if len(parts) > 1:
                parts[-2].result()
    return Sums(whole.hexdigest(), size, tuple(part.result() for part in parts))


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def as_base64(digest: bytes) -> str:
    """A checksum as S3 writes it."""
    return base64.b64encode(digest).decode()
