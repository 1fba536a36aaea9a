"""Which files of a zip file are a shapefile: agencies put it into folders, macOS adds files of its own."""

import shutil
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from flows.tables.features_reader import one_of

PARTS = frozenset({".shp", ".shx", ".dbf", ".prj", ".cpg"})
REQUIRED = (".shp", ".dbf")
OF_MACOS = ("__MACOSX", "._")
DAMAGES = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)
MOST_NAMES = 5
PLACE = "layer"

Shapefile = dict[str, zipfile.ZipInfo]
"""The parts of one, by their extension."""


def extract_shapefile(source: Path, folder: Path, custom: Mapping[str, Any], warnings: list[str]) -> str:
    """Write the parts of the one that is wanted, as `layer.shp` and so on; what it is called.

    Raises:
        ValueError: if there is no such one, a part of it is missing, or the zip file is not whole.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            found = shapefiles_in(archive)
            name = one_of(list(found), custom, "shapefiles")
            missing = [part for part in REQUIRED if part not in found[name]]
            if missing:
                raise ValueError(
                    f"its {name}{missing[0]} is missing: a shapefile is at least .shp, .shx and .dbf"
                )
            if ".shx" not in found[name]:
                warnings.append(f"its {name}.shx is missing, and was made from its .shp")
            for suffix, entry in found[name].items():
                with archive.open(entry) as content, (folder / f"{PLACE}{suffix}").open("wb") as part:
                    shutil.copyfileobj(content, part)
    except DAMAGES as error:
        raise ValueError(f"it is no whole zip file ({error})") from error
    return name


def shapefiles_in(archive: zipfile.ZipFile) -> dict[str, Shapefile]:
    """The shapefiles of a zip file, by their names, and by their folders too where two have one name.

    Raises:
        ValueError: if there is none.
    """
    parts: dict[tuple[str, str], Shapefile] = {}
    names: dict[tuple[str, str], PurePosixPath] = {}
    for entry in archive.infolist():
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if entry.is_dir() or any(part.startswith(OF_MACOS) for part in path.parts):
            continue
        suffix, key = path.suffix.lower(), (str(path.parent).lower(), path.stem.lower())
        if suffix in PARTS:
            parts.setdefault(key, {}).setdefault(suffix, entry)
        if suffix == ".shp":
            names[key] = path.with_suffix("")
    if not names:
        held = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
        shown = ", ".join(held[:MOST_NAMES]) + (", …" if len(held) > MOST_NAMES else "")
        raise ValueError(f"there is no .shp in it; it holds {shown or 'nothing'}")
    times = Counter(path.name.lower() for path in names.values())
    return {
        path.name if times[path.name.lower()] == 1 else str(path): parts[key]
        for key, path in sorted(names.items())
    }
