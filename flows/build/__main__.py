"""`python -m flows.build recipe.yml`: a build with no server and no worker, only the store."""

import sys

from cli.build import build_without_server
from cli.main import invoke

sys.exit(invoke(build_without_server, None, "python -m flows.build"))
