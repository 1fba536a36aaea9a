"""Not collected: a test that starts servers and is ended in the midst of its work."""

import os
import threading
from pathlib import Path

from tests.services import Store, Valkey


def test_that_never_ends(s3: Store, valkey: Valkey) -> None:
    pids = f"{os.getpid()} {s3.daemon.pid} {valkey.daemon.pid}"
    written = Path(os.environ["LARDER_TEST_PIDS"])
    written.with_suffix(".new").write_text(pids)
    written.with_suffix(".new").rename(written)
    threading.Event().wait()
