"""`python -m flows.ingest`: a run with no server and no worker, only the store."""

import sys

from cli.run import main_without_server

sys.exit(main_without_server("ingest"))
