"""A tiny run on the worker, which tries there what every build needs."""

import time
from typing import Any

from stack import registration
from stack.docker import Containers
from stack.findings import AGAIN, Unwell
from stack.local import Stack

PROBE_SECONDS = 120
PROBE = "probe/probe"
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Probe:
    """A tiny run on the worker, and what it found there."""

    def __init__(self, stack: Stack | Containers) -> None:
        self.stack = stack
        self.found: dict[str, Any] | None = None
        self.seconds_apart = 0.0

    def run(self) -> str:
        """Create the run, wait for its end, take what it found, and remove it."""
        api, began = self.stack.api_url, time.monotonic()
        try:
            deployment = registration.ask(api, "deployments/name/{}/{}", *PROBE.split("/"))
            if deployment is None:
                raise Unwell(f"there is no deployment {PROBE}", AGAIN)
            run = registration.ask(api, "deployments/{}/create_flow_run", deployment["id"], body={})
            state = self._end_of(run["id"])
            asked = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}, "type": {"any_": ["result"]}}}
            found = registration.ask(api, "artifacts/filter", body=asked)
        except OSError as error:
            raise Unwell(f"{api} does not answer ({error})", AGAIN) from error
        if state not in ENDED:
            raise Unwell(
                f"a run was not taken and done within {PROBE_SECONDS} s ({state})", logs_of(self.stack)
            )
        if not found:
            raise Unwell(f"a run ended {state} and told nothing", logs_of(self.stack))
        self.found = found[0]["data"]
        self.seconds_apart = abs(self.found["time"] - time.time()) - (time.monotonic() - began)
        registration.ask(api, "flow_runs/{}", run["id"], method="DELETE")
        return f"{self.found['worker']} took a run and ended it in {time.monotonic() - began:.1f} s"

    def bucket(self) -> str:
        """What the worker could do in the bucket, with the saved block's keys."""
        found = self._part("bucket")
        if not found["same"]:
            raise Unwell(
                f"{found['name']} reads, lists or deletes something else than was written", "look at it"
            )
        if isinstance(self.stack, Containers) and self.stack.has_store and not found["confined"]:
            raise Unwell(
                "the worker's user can look into other buckets", f"{AGAIN}, which sets its policy anew"
            )
        confined = ", and may do so nowhere else" if found["confined"] else ""
        return (
            f"the worker wrote, read, listed and deleted in {found['name']} at {found['endpoint']}{confined}"
        )

    def leases(self) -> str:
        """Whether the worker could hold a lease."""
        found = self._part("lease")
        if not found["works"]:
            raise Unwell("a lease was not held, or not let go", logs_of(self.stack))
        return f"the worker held one in {found['kept_in']} and let it go"

    @property
    def free_bytes(self) -> int | None:
        """Room where the worker's volumes are."""
        return None if self.found is None else int(self.found["free_bytes"])

    @property
    def free_scratch_bytes(self) -> tuple[int, int] | None:
        """Room for what runs make, and how much of it is always to be free."""
        if self.found is None:
            return None
        return int(self.found["free_scratch_bytes"]), int(self.found["kept_free_bytes"])

    @property
    def free_temporary(self) -> float | None:
        """Which part of the worker's /tmp is free."""
        return None if self.found is None else float(self.found["free_temporary"])

    def _end_of(self, run_id: str) -> str:
        until = time.monotonic() + PROBE_SECONDS
        state = ""
        while state not in ENDED and time.monotonic() < until:
            time.sleep(0.5)
            state = str(registration.ask(self.stack.api_url, "flow_runs/{}", run_id)["state_type"])
        return state

    def _part(self, name: str) -> dict[str, Any]:
        if self.found is None:
            raise Unwell("not known, as no run came through", "see queue")
        part: dict[str, Any] = self.found[name]
        if part["error"]:
            raise Unwell(f"on the worker: {part['error']}", logs_of(self.stack))
        return part


def logs_of(stack: Stack | Containers) -> str:
    """Where to read what the servers said."""
    if isinstance(stack, Containers):
        return "see `docker compose logs prefect-server prefect-services worker`"
    return f"see {stack.server.log} and {stack.worker.log}"
