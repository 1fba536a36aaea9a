"""GDAL with one driver: a file is read as what it is called, and not as what it says of itself."""

import ctypes
from collections.abc import Mapping
from pathlib import Path

from flows.tables.file_types import FileType

DRIVERS: Mapping[FileType, str] = {
    FileType.GEOJSON: "GeoJSON",
    FileType.SHAPEFILE: "ESRI Shapefile",
    FileType.GDB: "OpenFileGDB",
}
"""The driver of each file type that GDAL reads."""
LIBRARIES = ("../pyogrio.libs/libgdal*", ".dylibs/libgdal*")


class DriversError(RuntimeError):
    """GDAL's drivers cannot be taken away."""


def only_driver(name: str) -> None:
    """Takes from this process every driver of GDAL but one. There is no way back.

    Others would open further files and connections that a file names: VRT, WFS, HTTP.

    Raises:
        DriversError: GDAL's library cannot be found, or does not have the driver.
    """
    gdal = gdal_library()
    drivers = [gdal.GDALGetDriver(number) for number in range(gdal.GDALGetDriverCount())]
    names = {driver: gdal.GDALGetDriverShortName(driver).decode() for driver in drivers}
    if name not in names.values():
        raise DriversError(f"GDAL has no driver {name}; it has {', '.join(sorted(names.values()))}")
    for driver, found in names.items():
        if found != name:
            gdal.GDALDeregisterDriver(driver)


def gdal_library() -> ctypes.CDLL:
    """The library that pyogrio has loaded.

    Raises:
        DriversError: it cannot be found.
    """
    import pyogrio

    folder = Path(pyogrio.__file__).parent
    found = [path for pattern in LIBRARIES for path in sorted(folder.glob(pattern))]
    if not found:
        raise DriversError(f"the library of GDAL is not beside {folder}: install pyogrio from its wheel")
    gdal = ctypes.CDLL(str(found[0].resolve()))
    gdal.GDALGetDriver.restype = ctypes.c_void_p
    gdal.GDALGetDriver.argtypes = [ctypes.c_int]
    gdal.GDALGetDriverShortName.restype = ctypes.c_char_p
    gdal.GDALGetDriverShortName.argtypes = [ctypes.c_void_p]
    gdal.GDALDeregisterDriver.argtypes = [ctypes.c_void_p]
    gdal.GDALDeregisterDriver.restype = None
    return gdal
