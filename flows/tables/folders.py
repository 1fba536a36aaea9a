"""A folder as one file, and back: the same content gives the same bytes."""

import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

FIXED_TIME = 315_619_200
"""When every packed file was changed, in seconds since 1970: a time that a zip file can hold in any time
zone, which 1970 is not."""


def pack(folder: Path, files: Iterable[Path], archive: Path) -> Path:
    """Write files and folders below `folder` as a tar file, without owners, times or other marks of a host.

    A link is kept, as a relative one, where it stays within the folder; else it is left out.
    """
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as target:
        for path in sorted(set(files)):
            if path.is_symlink() and not _stays_within(folder, path):
                continue
            entry = target.gettarinfo(path, str(path.relative_to(folder)))
            if entry is None or not (entry.isreg() or entry.isdir() or entry.issym() or entry.islnk()):
                continue
            if entry.islnk():
                entry.type, entry.linkname, entry.size = tarfile.REGTYPE, "", path.stat().st_size
            if entry.issym() and Path(entry.linkname).is_absolute():
                entry.linkname = os.path.relpath(entry.linkname, path.parent)
            entry.uid = entry.gid = 0
            entry.mtime = FIXED_TIME
            entry.uname = entry.gname = ""
            entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
            entry.pax_headers = {}
            if entry.isreg():
                with path.open("rb") as content:
                    target.addfile(entry, content)
            else:
                target.addfile(entry)
    return archive


def _stays_within(folder: Path, link: Path) -> bool:
    try:
        return link.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return False


def unpack(archive: Path, folder: Path) -> None:
    """Write what `pack` packed into `folder`; nothing is written outside it."""
    with tarfile.open(archive) as source:
        source.extractall(folder, filter="data")


def stored_zip(archive: Path, entries: Iterable[tuple[str, Path]]) -> Path:
    """Write files under these names as a zip file, in this order.

    They are stored, not deflated: what deflate writes differs between builds of zlib.
    """
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for name, path in entries:
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            entry.file_size = path.stat().st_size
            with path.open("rb") as content, target.open(entry, "w") as written:
                shutil.copyfileobj(content, written, 2**20)
    return archive


def below(folder: Path) -> list[Path]:
    """Everything below a folder."""
    return list(folder.rglob("*"))
