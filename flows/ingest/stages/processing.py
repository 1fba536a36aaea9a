"""Processing: what the links of pages say."""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from larder.artifacts import File, Output


class LinkCounts(Output):
    """How often pages link to each host."""

    file: File
    rows: int


def count_links(links: Sequence[Path], *, scratch: Path) -> LinkCounts:
    """How often each host is linked to, `link_counts.csv` in `scratch`, the most often first.

    Args:
        links: the `links.json` of each page
        scratch: where the file goes
    """
    counts = Counter(
        urlsplit(link["url"]).hostname for file in links for link in json.loads(file.read_bytes())["links"]
    )
    target = scratch / "link_counts.csv"
    with target.open("w", encoding="utf-8", newline="") as opened:
        lines = csv.writer(opened, lineterminator="\n")
        lines.writerow(("host", "links"))
        ordered = sorted((-number, str(host)) for host, number in counts.items())
        lines.writerows((host, -number) for number, host in ordered)
    return LinkCounts(file=target, rows=len(counts))
