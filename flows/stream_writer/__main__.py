"""`python -m flows.stream_writer`: the pipeline with no server and no worker, only the store and Redis."""

import sys

from cli.run import main_without_server

sys.exit(main_without_server("stream_writer"))
