"""A folder as one file, and back: the same content gives the same bytes."""

import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from flows.tables.measures import entries

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
    """Everything below a folder; links are not followed."""
    return [Path(path) for path, _ in entries(str(folder))]


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that lies below it, however deep it is nested and whoever may read it.

    Folders are moved up one by one, so that no path gets long and nothing calls itself.
    """
    if not folder.is_dir():
        return
    folder.chmod(0o700)
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while inner := _emptied(top, top):
            for name in inner:
                os.chmod(name, 0o700, dir_fd=top)
                opened = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
                try:
                    _emptied(opened, top)
                finally:
                    os.close(opened)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    folder.rmdir()


def _emptied(opened: int, top: int) -> list[str]:
    """Remove the files of a folder, and move its folders to the top; what these are called there."""
    folders = []
    with os.scandir(opened) as listed:
        found = list(listed)
    for entry in found:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=opened)
            continue
        name = entry.name if opened == top else uuid4().hex
        if opened != top:
            os.chmod(entry.name, 0o700, dir_fd=opened)
            os.rename(entry.name, name, src_dir_fd=opened, dst_dir_fd=top)
        folders.append(name)
    return folders
