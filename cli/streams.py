"""`larder streams`: what belongs to the stream writer besides its runs."""

from datetime import UTC, datetime

import click

from cli.exits import EXIT_CODES
from flows.stream_writer.connection import streams_url
from flows.stream_writer.flow import CONFIGURATIONS
from flows.stream_writer.generator import made_up, send
from flows.stream_writer.serve import HOST, PORT, serve
from flows.stream_writer.streams import connected
from larder.refusal import RefusedError
from larder.settings import SettingsError, settings


@click.group()
def streams() -> None:
    """Made-up events for the streams, and a small Redis that holds them."""


@streams.command(epilog="Example: larder streams generate --events 1000 --broken 0.1")
@click.option("--events", type=click.IntRange(1), default=1000, show_default=True, help="How many.")
@click.option(
    "--broken", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Which share is broken."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Equal seeds make equal events.")
@click.option("--at", type=click.DateTime(), help="When the last one was, in UTC; now where not given.")
@click.option("--configuration", default="default", show_default=True, help="Whose streams.")
def generate(events: int, broken: float, seed: int, at: datetime | None, configuration: str) -> int:
    """Add made-up events to the streams of a configuration."""
    from redis.exceptions import RedisError

    last = None if at is None else at.replace(tzinfo=UTC)
    try:
        chosen = CONFIGURATIONS.read(configuration)
        redis = connected(streams_url(settings()))
        sent = send(redis, made_up(events, chosen.streams, broken, seed, last), chosen.event.payload)
    except (RefusedError, SettingsError) as error:
        click.echo(f"Refused: {error}", err=True)
        return EXIT_CODES["refused"]
    except RedisError as error:
        click.echo(f"Failed: the Redis at LARDER_STREAMS_URL did not take the events: {error}", err=True)
        return EXIT_CODES["failed"]
    click.echo(f"{sent:,} events sent to {', '.join(chosen.streams)}")
    return 0


@streams.command("serve", epilog="Example: larder streams serve --port 6390")
@click.option("--port", type=int, default=PORT, show_default=True)
def serve_streams(port: int) -> None:
    """Run a small Redis for samples, until it is interrupted; what it holds stays in $LARDER_HOME/streams."""
    serve(settings().home / "streams", HOST, port)
