"""`python -m flows.build recipe.yml`: a build with no server and no worker, only the store."""

import sys

from cli.main import build_alone

sys.exit(build_alone(sys.argv[1:]))
