"""What the page of a run says of the API."""

from collections.abc import Iterable

from flows.activity.stages.pages import Pages
from larder.report import Ended, Link, table


def sources_section(ended: Ended, link: Link) -> Iterable[str]:  # noqa: ARG001
    """How much of which source the files were made from."""
    read = {title: pages for title, pages in sorted(ended.values.items()) if isinstance(pages, Pages)}
    if read:
        rows = [
            (
                name,
                str(len(pages.pages)),
                f"{sum(page.rows for page in pages.pages):,}",
                f"<{pages.source.page_url()}>",
            )
            for name, pages in read.items()
        ]
        yield f"## Sources\n\n{table(('source', 'pages', 'records', 'first page'), rows)}"
