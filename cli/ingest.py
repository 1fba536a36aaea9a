"""`larder ingest`: what belongs to that pipeline besides its runs."""

import click

from flows.ingest.sample_web import PORT, serve


@click.group()
def ingest() -> None:
    """The made-up files, API and pages that the pipeline reads as it is shipped."""


@ingest.command("serve", epilog="Example: larder ingest serve")
@click.option("--port", type=int, default=PORT, show_default=True, help="0 for any that is free.")
def serve_samples(port: int) -> None:
    """Serve made-up files, an API and pages until it is interrupted.

    POST /tell says what happens to the next requests of a path.
    """
    serve(port)
