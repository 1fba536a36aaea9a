"""Replace, append and merge, against what they mean: no row lost, none doubled, whatever happens when."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.medallion.stages.landing import LandedFile, Wanted, files_that_count
from flows.medallion.workflow.modes import ChangedFiles, LoadMode
from flows.medallion.workflow.schema import Job
from tests.flows.medallion.jobs import job, landed, rows, silver_of

NAMES = ("monday.csv", "tuesday.csv", "wednesday.csv")
Rows = tuple[tuple[int, int], ...]
BATCH = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=4).map(tuple)
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(NAMES), BATCH),
        st.tuples(st.just("remove"), st.sampled_from(NAMES), st.just(())),
        st.tuples(st.sampled_from(("run", "run", "crash")), st.just(""), st.just(())),
    ),
    min_size=2,
    max_size=9,
)


@dataclass
class Landing:
    """A job's landing, and the files whose rows are in its silver."""

    folder: Path
    of: Job
    there: dict[str, Rows] = field(default_factory=dict)
    accepted: list[LandedFile] = field(default_factory=list)
    contents: dict[LandedFile, Rows] = field(default_factory=dict)
    silver: list[tuple[int, int]] = field(default_factory=list)

    def run(self, *, crash: bool = False) -> None:
        """Load what lies there. A crash comes before anything is published."""
        files = [self.file(name, content) for name, content in self.there.items()]
        wanted = Wanted(
            workflow_id="w",
            job_id="j",
            pattern="*",
            load_mode=self.of.load_mode,
            changed_files=self.of.changes,
        )
        counted = files_that_count(wanted, self.accepted, files)
        if not counted:
            return
        made = silver_of(self.folder, [self.content(file) for file in counted], self.of)
        assert made.rows_in == made.rows_out + made.rows_rejected + made.duplicates
        if not crash:
            self.accepted, self.silver = counted, rows(made.table, "key", "value")

    def file(self, name: str, content: Rows) -> LandedFile:
        file = LandedFile(name=name, etag=str(hash(content)), bytes=len(content))
        self.contents[file] = content
        return file

    def content(self, file: LandedFile) -> Path:
        lines = "".join(f"{key},{value}\n" for key, value in self.contents[file])
        return landed(self.folder, file.name, f"key,value\n{lines}")


@dataclass
class Expected:
    """The same told in the plainest way: after each run that ended, what silver must hold."""

    mode: LoadMode
    changes: ChangedFiles
    taken: list[tuple[str, Rows]] = field(default_factory=list)

    def run(self, there: dict[str, Rows]) -> list[tuple[int, int]]:
        if self.mode is LoadMode.REPLACE:
            self.taken = sorted(there.items()) or self.taken
            return upserted(self.taken)
        for name, content in sorted(there.items()):
            versions = [one for one in self.taken if one[0] == name]
            if versions and versions[-1] == (name, content):
                continue
            if versions and self.changes is ChangedFiles.CORRECT:
                self.taken[self.taken.index(versions[-1])] = (name, content)
            else:
                self.taken = [one for one in self.taken if one != (name, content)] + [(name, content)]
        seen: list[Rows] = []
        once = [seen.append(one[1]) or one for one in self.taken if one[1] not in seen]  # type: ignore[func-returns-value]
        if self.mode is LoadMode.APPEND:
            return [row for one in once for row in upserted([one])]
        return upserted(once)


def upserted(batches: Sequence[tuple[str, Rows]]) -> list[tuple[int, int]]:
    held: dict[int, int] = {}
    for _, content in batches:
        for key, value in content:
            held.pop(key, None)
            held[key] = value
    return list(held.items())


MODES = [
    (LoadMode.REPLACE, None),
    (LoadMode.APPEND, None),
    (LoadMode.APPEND, ChangedFiles.ADD),
    (LoadMode.MERGE, None),
    (LoadMode.MERGE, ChangedFiles.CORRECT),
]


@pytest.mark.parametrize(("mode", "changes"), MODES)
def test_no_row_is_lost_and_none_is_doubled(mode: LoadMode, changes: ChangedFiles | None) -> None:
    given_job = job(primary_keys="key", load_mode=mode, changed_files=changes)

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(events=EVENTS)
    def holds(events: list[tuple[str, str, Rows]]) -> None:
        with TemporaryDirectory() as folder:
            landing, expected = Landing(Path(folder), given_job), Expected(mode, given_job.changes)
            for kind, name, content in [*events, ("run", "", ()), ("run", "", ())]:
                if kind == "put":
                    landing.there[name] = content
                elif kind == "remove":
                    landing.there.pop(name, None)
                else:
                    landing.run(crash=kind == "crash")
                    if kind == "run":
                        assert landing.silver == expected.run(landing.there)

    holds()


def test_append_and_merge_say_what_a_changed_file_means() -> None:
    assert job(load_mode="append").changes is ChangedFiles.CORRECT
    assert job(load_mode="merge", primary_keys="id").changes is ChangedFiles.ADD


def test_a_file_with_the_bytes_of_an_earlier_one_adds_nothing(tmp_path: Path) -> None:
    files = [landed(tmp_path, name, "id\n1\n2\n") for name in ("a.csv", "b.csv")]
    appended = silver_of(tmp_path, files, job(load_mode="append"))
    assert (appended.rows_in, appended.rows_out) == (2, 2)


def test_a_value_must_be_unique_within_a_file_and_in_what_is_merged(tmp_path: Path) -> None:
    files = [
        landed(tmp_path, "a.csv", "id,mail\n1,x\n2,y\n"),
        landed(tmp_path, "b.csv", "id,mail\n1,x\n3,y\n4,z\n5,z\n"),
    ]
    of = job(load_mode="merge", primary_keys="id", rules=[{"unique": "mail"}])
    merged = silver_of(tmp_path, files, of)
    assert rows(merged.table, "id", "mail") == [(1, "x"), (3, "y"), (5, "z")]
    assert rows(merged.quarantine, "id") == [(2,), (4,)]
    assert (merged.rows_in, merged.duplicates, merged.rows_rejected) == (6, 1, 2)
