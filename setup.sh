#!/usr/bin/env bash
set -euo pipefail

script=${BASH_SOURCE[0]}
while [ -L "$script" ]; do
  link=$(readlink "$script")
  case $link in
    /*) script=$link ;;
    *) script=$(dirname "$script")/$link ;;
  esac
done
checkout=$(cd -P "$(dirname "$script")" && pwd)

suits() {
  [ -n "$1" ] && "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
  local candidate
  for candidate in python3 python3.13 python3.12 python3.11; do
    candidate=$(command -v "$candidate" || true)
    if suits "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  if command -v uv >/dev/null; then
    uv python find --no-project '>=3.11,<3.14' 2>/dev/null && return
    echo "No Python 3.11, 3.12 or 3.13 is there; uv fetches one." >&2
    uv python install --quiet 3.13 && uv python find --no-project 3.13 && return
  fi
  cat >&2 <<'TEXT'
Larder needs Python 3.11, 3.12 or 3.13, and none is on the PATH. Install it with
  Debian, Ubuntu   apt-get install python3 python3-venv
  Fedora           dnf install python3.13
  macOS            brew install python@3.13
or install uv (https://docs.astral.sh/uv), which fetches one, and run setup.sh again.
TEXT
  return 1
}

python=$(find_python)
exec "$python" -c '
import sys
sys.path.insert(0, sys.argv.pop(1))
from stack.bootstrap import main
main()
' "$checkout" "$@"
