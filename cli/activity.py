"""`larder activity`: what belongs to that pipeline besides its runs."""

import click

from flows.activity.sample_server import HOST, PORT, POSTS, USERS, Fault, SampleApi, serve
from flows.activity.samples import made_up_posts, made_up_users


@click.group()
def activity() -> None:
    """The API of made-up users and posts that the pipeline reads as it is shipped."""


@activity.command("serve", epilog="Example: larder activity serve --fault unavailable --times 2")
@click.option("--host", default=HOST, show_default=True)
@click.option("--port", type=int, default=PORT, show_default=True, help="0 for any that is free.")
@click.option("--users", type=click.IntRange(0), default=USERS, show_default=True, help="How many there are.")
@click.option("--posts", type=click.IntRange(0), default=POSTS, show_default=True, help="How many there are.")
@click.option(
    "--fault", type=click.Choice([one.value for one in Fault]), help="What is wrong with the first answers."
)
@click.option("--times", type=click.IntRange(0), default=1, show_default=True, help="With how many of them.")
def serve_samples(host: str, port: int, users: int, posts: int, fault: str | None, times: int) -> None:  # noqa: PLR0913, PLR0917
    """Serve made-up users and posts, page by page, until it is interrupted."""
    api = SampleApi(made_up_users(users), made_up_posts(posts, users))
    if fault is not None:
        api.fail(Fault(fault), times)
    serve(api, port, host)
