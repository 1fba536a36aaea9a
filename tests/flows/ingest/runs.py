"""Departments of the sample web, their runs, and what these leave in the bucket."""

from typing import Any

from flows.ingest.sample_web import SampleWeb
from flows.ingest.schema import Department

SAMPLE = "http://127.0.0.1:8350"
QUICK = {"pause_seconds": 0, "answer_seconds": 5}


def department(sample: SampleWeb, **stages: dict[str, Any]) -> Department:
    """A department with these categories, which may ask the sample web."""
    reach = {"hosts": ["127.0.0.1"], "networks": ["127.0.0.0/8"], "limits": QUICK}
    ingestion = {
        name: {**reach, **category, "sources": [at(sample, one) for one in category["sources"]]}
        for name, category in stages.pop("ingestion", {}).items()
    }
    return Department.model_validate({"id": "alpha", "name": "Alpha", "ingestion": ingestion, **stages})


def at(sample: SampleWeb, source: dict[str, Any]) -> dict[str, Any]:
    """A source whose URL is a path of the sample web."""
    return {**source, "url": sample.url + source["url"]}
