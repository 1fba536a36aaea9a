"""Coordinate reference systems by their names, from GDAL's library itself: pyogrio has no word for that."""

import ctypes
from functools import cache

from flows.tables.drivers import gdal_library

LONGITUDE_LATITUDE = "OGC:CRS84"
"""What GeoParquet takes a column of shapes for that says nothing of its reference system."""
CLOSED = (b"ALLOW_NETWORK_ACCESS=NO", b"ALLOW_FILE_ACCESS=NO", None)
ONE_LINE = (b"MULTILINE=NO", None)
LONGEST_SHOWN = 60


def reference_system(named: str) -> str:
    """A coordinate reference system as DuckDB's types have it: PROJJSON, or `OGC:CRS84`.

    Args:
        named: its code (`EPSG:2263`), URN, WKT or PROJJSON; no file and no URL is opened for it.

    Raises:
        ValueError: if there is no such reference system.
    """
    gdal = _osr()
    system, text = gdal.OSRNewSpatialReference(None), ctypes.c_char_p()
    options = (ctypes.c_char_p * len(CLOSED))(*CLOSED)
    lines = (ctypes.c_char_p * len(ONE_LINE))(*ONE_LINE)
    gdal.CPLPushErrorHandler(gdal.CPLQuietErrorHandler)
    try:
        if gdal.OSRSetFromUserInputEx(system, named.encode(), options) or gdal.OSRExportToPROJJSON(
            system, ctypes.byref(text), lines
        ):
            shown = " ".join(named.split())[:LONGEST_SHOWN]
            raise ValueError(f"{shown} is no known reference system; one is EPSG:2263")
        authority, code = gdal.OSRGetAuthorityName(system, None), gdal.OSRGetAuthorityCode(system, None)
        if (authority, code) == (b"OGC", b"CRS84"):
            return LONGITUDE_LATITUDE
        return (text.value or b"").decode()
    finally:
        gdal.CPLPopErrorHandler()
        gdal.VSIFree(text)
        gdal.OSRDestroySpatialReference(system)


@cache
def _osr() -> ctypes.CDLL:
    gdal = gdal_library()
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    gdal.OSRNewSpatialReference.restype = pointer
    gdal.OSRNewSpatialReference.argtypes = [text]
    gdal.OSRSetFromUserInputEx.argtypes = [pointer, text, ctypes.POINTER(text)]
    gdal.OSRExportToPROJJSON.argtypes = [pointer, ctypes.POINTER(text), ctypes.POINTER(text)]
    gdal.OSRDestroySpatialReference.argtypes = [pointer]
    gdal.OSRDestroySpatialReference.restype = None
    gdal.CPLPushErrorHandler.argtypes = [pointer]
    gdal.CPLPushErrorHandler.restype = None
    gdal.VSIFree.argtypes = [pointer]
    gdal.VSIFree.restype = None
    for function in (gdal.OSRGetAuthorityName, gdal.OSRGetAuthorityCode):
        function.restype = text
        function.argtypes = [pointer, text]
    return gdal
