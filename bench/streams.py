"""A backlog drained beside the raw limit; then a steady rate, with how far behind it falls and its memory."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.table import Row
from flows.stream_writer.serve import server_program
from stack.daemon import Daemon
from stack.ports import HOST, free_ports

BACKLOG = 100_000
RATE = 1500
SECONDS = int(os.environ.get("BENCH_STREAM_SECONDS", "600"))
PRELUDE = """
import os, resource
from flows.stream_writer.connection import streams_url
from flows.stream_writer.flow import CONFIGURATIONS, stream_writer
from flows.stream_writer.generator import made_up, send
from flows.stream_writer.streams import Stream, connected
configuration = CONFIGURATIONS.read("default").model_copy(update={"keep_seconds": 0.0})
redis = connected(streams_url(settings()))
def fill(events, seed):
    send(redis, made_up(events, configuration.streams, 0.1, seed))
def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
"""
DRAINED = """
from larder.outcomes import listening
fill(2000, 0)
stream_writer(configuration)
fill(BACKLOG, 1)
steps = {}
def hear(step):
    if step.outcome is not None:
        steps[step.stage] = steps.get(step.stage, 0) + step.seconds
began, used = time.monotonic(), cpu()
with listening(hear):
    stream_writer(configuration)
tell([time.monotonic() - began, cpu() - used, steps])
"""
RAW = """
import tempfile, duckdb
from pathlib import Path
fill(BACKLOG, 1)
def drain(name, folder):
    stream = Stream(redis, name, "raw", "raw")
    stream.join()
    while found := stream._read(">", 2000):
        lines = [message.fields[0][1].replace(b"\\n", b" ") for message in found]
        objects = [line for line in lines if loads(line)]
        (folder / "lines").write_bytes(b"\\n".join(objects))
        table = f"read_json('{folder}/lines', format = 'newline_delimited', ignore_errors = true)"
        duckdb.execute(f"copy (from {table}) to '{folder}/{name}.parquet' (compression zstd)")
        stream.acknowledge([message.id for message in found])
        redis.xtrim(name, minid=found[-1].id, approximate=False)
def loads(line):
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
began, used = time.monotonic(), cpu()
with tempfile.TemporaryDirectory() as folder:
    for name in configuration.streams:
        drain(name, Path(folder))
tell([time.monotonic() - began, cpu() - used])
redis.delete(*configuration.streams)
"""
PRODUCE = """
began, sent = time.monotonic(), 0
while sent < RATE * SECONDS:
    due = int(RATE * (time.monotonic() - began))
    if due > sent:
        fill(due - sent, sent)
        sent = due
    time.sleep(0.05)
"""
STEADY = """
groups = [Stream(redis, name, configuration.group, "bench") for name in configuration.streams]
def behind():
    return sum((one.position().lag or 0) + one.position().pending for one in groups)
began, used, held, lags, done = time.monotonic(), cpu(), [], [], 0
while time.monotonic() - began < SECONDS or behind():
    told = stream_writer(configuration)
    done += sum(one.written for one in told.streams.values())
    held.append(memory())
    lags.append(behind())
tell({"seconds": time.monotonic() - began, "cpu": cpu() - used, "held": held, "lags": lags, "done": done})
"""


def rows(measure: Callable[[dict[str, str], str], Any], home: Path) -> list[Row]:
    """The backlog first, then the steady rate."""
    with _redis(home) as url:
        environment = {"LARDER_STREAMS_URL": url}
        given = f"{PRELUDE}BACKLOG = {BACKLOG}\nRATE = {RATE}\nSECONDS = {SECONDS}\n"
        raw, raw_cpu = measure(environment, given + RAW)
        ours, ours_cpu, steps = measure(environment, given + DRAINED)
        spent = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in sorted(steps.items()))
        producing = subprocess.Popen(
            _python("from larder.settings import settings\nimport time\n" + given + PRODUCE),
            env={**os.environ, **environment},
        )
        try:
            steady = measure(environment, given + STEADY)
        finally:
            producing.kill()
            producing.wait()
    held = steady["held"]
    middle, last = held[len(held) // 3], held[-1]
    reached, cores = steady["done"] / steady["seconds"], steady["cpu"] / steady["seconds"]
    return [
        Row(
            f"{BACKLOG:,} events of a backlog ({spent}); read, parsed, written to a file and acknowledged",
            f"{ours:.1f} s, CPU {ours_cpu:.1f} s",
            f"{raw:.1f} s, CPU {raw_cpu:.1f} s",
            ours_cpu / raw_cpu,
        ),
        Row(
            f"{RATE:,} events a second for {SECONDS} s; at most {max(steady['lags']):,} behind",
            f"{reached:.0f} a second, {cores:.2f} cores",
            f"{RATE:,} a second",
            RATE / max(1, reached),
            1.05,
        ),
        Row(
            "memory at its end; after a third of it", f"{last:.0f} MB", f"{middle:.0f} MB", last / middle, 1.1
        ),
    ]


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", "import json\n" + code]


@contextmanager
def _redis(home: Path) -> Iterator[str]:
    (port,) = free_ports(1)
    folder = home / "streams"
    folder.mkdir()
    command = (
        *(str(server_program()), "--bind", HOST, "--port", str(port), "--dir", str(folder)),
        *("--save", "", "--appendonly", "yes", "--appendfsync", "everysec"),
    )
    url = f"redis://{HOST}:{port}/0"
    daemon = Daemon("streams", command, {}, folder, folder, lambda: _answers(url))
    daemon.start()
    daemon.wait(30)
    try:
        yield url
    finally:
        daemon.stop()


def _answers(url: str) -> bool:
    from redis import Redis
    from redis.exceptions import RedisError

    try:
        return bool(Redis.from_url(url).ping())
    except RedisError:
        return False
