"""What long work says of itself while it goes on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Say = Callable[[str], object]

SAY_EVERY_SECONDS = 10.0


@contextmanager
def progress(say: Say, shown: Callable[[], str]) -> Iterator[None]:
    """Say every ten seconds how far the work of this block is; nothing of work that is done sooner.

    Where a file that `shown` looks at is gone just then, nothing is said.
    """
    done = threading.Event()

    def tell() -> None:
        while not done.wait(SAY_EVERY_SECONDS):
            with suppress(OSError):
                say(shown())

    telling = threading.Thread(target=tell, daemon=True)
    telling.start()
    try:
        yield
    finally:
        done.set()
        telling.join()
