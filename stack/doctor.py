"""Whether everything that setup started really works. Every check can fail, and says what to do."""

import json
import os
from dataclasses import asdict
from functools import partial

from stack import checks, container_checks, docker, local
from stack.docker import Containers
from stack.findings import Check, Finding, Unwell
from stack.home import Home
from stack.local import Stack
from stack.probing import Probe
from stack.steps import SetupError


def running(home: Home) -> Stack | Containers:
    """The stack that a home runs, as it was started last.

    Raises:
        SetupError: it runs none.
    """
    if home.mode is None:
        raise SetupError(f"Nothing is started in {home.folder}: run ./setup.sh.")
    if home.mode == "local":
        return local.existing(home)
    stack = docker.existing(home)
    os.environ.update(stack.environment)
    return stack


def examine(stack: Stack | Containers, *, as_json: bool = False) -> bool:
    """Goes through all checks, saying each as it is done, or all as one JSON document; whether all hold."""
    findings = []
    for check in checks_of(stack):
        finding = _finding(check)
        findings.append(finding)
        if not as_json:
            print(finding, flush=True)
    well = all(finding.holds for finding in findings)
    if as_json:
        print(json.dumps({"well": well, "checks": [asdict(finding) for finding in findings]}, indent=2))
    return well


def checks_of(stack: Stack | Containers) -> list[Check]:
    """What must hold for a stack of this kind."""
    probe = Probe(stack)
    first = _of_containers(stack) if isinstance(stack, Containers) else _of_processes(stack)
    return [
        *first,
        Check("server", partial(checks.server, stack)),
        Check("ui", partial(checks.ui, stack)),
        Check("database", partial(checks.database, stack)),
        Check("registered", partial(checks.registered, stack)),
        Check("worker", partial(checks.worker, stack)),
        Check("runs", partial(checks.runs, stack)),
        Check("queue", probe.run),
        Check("bucket", probe.bucket),
        Check("leases", probe.leases),
        Check("clocks", partial(checks.clocks, stack, probe)),
        Check("disk", partial(checks.disk, stack, probe)),
    ]


def _finding(check: Check) -> Finding:
    try:
        return Finding(check.name, holds=True, found=check.look())
    except Unwell as error:
        return Finding(check.name, holds=False, found=error.found, remedy=error.remedy)


def _of_processes(stack: Stack) -> list[Check]:
    return [
        Check("processes", partial(checks.processes, stack)),
        Check("settings", partial(checks.current, stack)),
    ]


def _of_containers(stack: Containers) -> list[Check]:
    found = [
        Check("containers", container_checks.containers),
        Check("redis", container_checks.redis),
        Check("login", partial(container_checks.login, stack)),
    ]
    if container_checks.is_monitored():
        found.append(Check("monitoring", partial(container_checks.monitoring, stack)))
    return found
