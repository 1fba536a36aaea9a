"""What becomes of users and posts, from the records that came to the bytes of the CSV files."""

import csv
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flows.activity.samples import made_up_posts, made_up_users
from flows.activity.stages import analytics, exports, transforms
from flows.activity.stages.api import Validators
from flows.activity.stages.exports import CsvFile
from flows.activity.stages.pages import Page, Pages, Source
from flows.activity.stages.records import RecordError
from flows.tables.table import Table
from tests.shared import ACTIVITY

Rows = list[dict[str, Any]]


def pages(folder: Path, *contents: Any, records_field: str | None = None) -> Pages:
    """Pages that came with these contents."""
    kept = []
    for number, content in enumerate(contents, 1):
        file = folder / f"page-{number}.json"
        file.write_text(json.dumps(content))
        kept.append(Page(file=file, rows=1, url=f"http://api/{number}", validators=Validators()))
    source = Source(url="http://api/1")
    return Pages(pages=tuple(kept), records_field=records_field, source=source, version="1")


def user(number: int, **given: object) -> dict[str, object]:
    return {"id": number, "name": f"User {number}", **given}


def post(number: int, user_id: int, title: str = "title", body: str = "body") -> dict[str, object]:
    return {"userId": user_id, "id": number, "title": title, "body": body}


def rows(table: Table) -> Rows:
    found = duckdb.execute("from read_parquet(?)", [str(table.file)])
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def made(users: object, posts: object, scratch: Path) -> tuple[dict[str, Table], dict[str, CsvFile]]:
    """All tables and files of these users and posts."""
    cleaned = transforms.clean_users(pages(scratch, users), scratch)
    cleaned_posts = transforms.clean_posts(pages(scratch, posts), scratch)
    enriched = transforms.enrich_posts(cleaned_posts, cleaned, scratch)
    activity = analytics.user_activity(cleaned, cleaned_posts, scratch)
    authors = analytics.top_authors(activity, scratch)
    summary = analytics.summary(cleaned, cleaned_posts, enriched, scratch)
    tables = {"users": cleaned, "posts": cleaned_posts, "enriched": enriched}
    files = (
        exports.users(cleaned, scratch),
        exports.posts_enriched(enriched, scratch),
        exports.user_stats(activity, scratch),
        exports.top_authors(authors, scratch),
        exports.summary(summary, scratch),
    )
    return (
        tables | {"activity": activity, "authors": authors, "summary": summary},
        {Path(str(file.file)).name: file for file in files},
    )


@pytest.mark.skipif(not ACTIVITY.is_dir(), reason="The shared samples are not there.")
def test_the_five_files_of_the_shared_sample_are_those_of_the_pipeline_that_was(tmp_path: Path) -> None:
    users, posts = (json.loads((ACTIVITY / f"{name}.json").read_text()) for name in ("users", "posts"))
    _, files = made(users, posts, tmp_path)
    for expected in sorted((ACTIVITY / "expected").iterdir()):
        assert Path(str(files[expected.name].file)).read_bytes() == expected.read_bytes(), expected.name


def test_users_have_their_email_in_lower_case_and_a_full_name(tmp_path: Path) -> None:
    came = pages(tmp_path, [user(2, email="B@X.org", address={"city": "C"}), user(1, phone=5)])
    table = transforms.clean_users(came, tmp_path)
    empty = {"username": None, "phone": None, "website": None}
    assert rows(table) == [
        {"id": 2, "name": "User 2", "email": "b@x.org", "full_name": "User 2", **empty},
        {"id": 1, "name": "User 1", "email": None, "full_name": "User 1", **empty, "phone": "5"},
    ]
    assert [column.name for column in table.columns] == [
        *("id", "name", "username", "email", "phone", "website", "full_name")
    ]


def test_posts_lose_the_space_around_title_and_body_before_they_are_measured(tmp_path: Path) -> None:
    came = pages(tmp_path, [post(1, 7, " \u00a0två ord\n", "\té\n\nß ")])
    assert rows(transforms.clean_posts(came, tmp_path)) == [
        {
            "userId": 7,
            "id": 1,
            "title": "två ord",
            "body": "é\n\nß",
            "title_length": 7,
            "body_length": 4,
        }
    ]


def test_a_record_that_came_twice_counts_once_as_it_came_last(tmp_path: Path) -> None:
    came = pages(tmp_path, [user(1), user(2)], [user(1, email="new@x.org"), user(3)])
    table = transforms.clean_users(came, tmp_path)
    assert [(row["id"], row["email"]) for row in rows(table)] == [(1, "new@x.org"), (2, None), (3, None)]
    assert table.warned == ("1 times an id came again; the record that came last counts",)


def test_records_are_found_where_the_source_says(tmp_path: Path) -> None:
    came = pages(tmp_path, {"result": {"rows": [user(4)]}}, records_field="result.rows")
    assert [row["id"] for row in rows(transforms.clean_users(came, tmp_path))] == [4]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"name": "A"}, "Users, page 2, record 2: found no id; expected id."),
        ({"id": "x", "name": "A"}, 'Users, page 2, record 2: found id "x"; expected a valid integer'),
        (
            {"id": 2**63, "name": "A"},
            f"Users, page 2, record 2: found id {2**63}; expected less than {2**63}.",
        ),
        ({"id": 1, "name": None}, "Users, page 2, record 2: found name null; expected a valid string."),
        (
            {"id": 1, "name": "\ud800"},
            'Users, page 2, record 2: found name "\\ud800"; expected text that UTF-8 can hold.',
        ),
    ],
)
def test_a_record_that_is_no_user_is_named_with_its_place(
    tmp_path: Path, record: object, message: str
) -> None:
    with pytest.raises(RecordError) as raised:
        transforms.clean_users(pages(tmp_path, [user(1)], [user(2), record]), tmp_path)
    assert str(raised.value).startswith(message)


def test_every_post_is_enriched_and_one_without_a_user_has_no_author(tmp_path: Path) -> None:
    tables, files = made([user(1, email="A@x.org")], [post(5, 9), post(3, 1)], tmp_path)
    written = rows(tables["enriched"])
    assert [tuple(row.values())[-3:] for row in written] == [(None, None, None), (1, "User 1", "a@x.org")]
    assert [row["id_post"] for row in written] == [5, 3]
    assert rows(tables["summary"])[0]["total_enriched"] == 1
    assert Path(str(files["posts_enriched.csv"].file)).read_text().splitlines()[1] == "9,5,title,body,5,4,,,"


def test_users_without_posts_have_activity_zero_and_means_are_rounded_half_to_even(tmp_path: Path) -> None:
    posts = [post(number, 1, body="x" * length) for number, length in enumerate((1, 1, 1, 1, 1, 1, 1, 2))]
    tables, files = made([user(2), user(1)], posts, tmp_path)
    numbers = [(row["id"], row["post_count"], row["avg_post_length"]) for row in rows(tables["activity"])]
    assert numbers == [(2, 0, 0.0), (1, 8, 1.12)]
    assert Path(str(files["user_stats.csv"].file)).read_text().splitlines()[1:] == [
        "2,User 2,,0,0.0",
        "1,User 1,,8,1.12",
    ]


def test_top_authors_are_the_ten_with_most_posts(tmp_path: Path) -> None:
    posts = [post(100 * author + n, author) for author in range(1, 13) for n in range(author % 4 + 1)]
    tables, _ = made([user(number) for number in range(12, 0, -1)], posts, tmp_path)
    numbers = [(row["post_count"], row["id"]) for row in rows(tables["authors"])]
    assert numbers == [(4, 3), (4, 7), (4, 11), (3, 2), (3, 6), (3, 10), (2, 1), (2, 5), (2, 9), (1, 4)]


@pytest.mark.parametrize(
    ("users", "posts", "line"),
    [
        ([], [], "0,0,0,0.0,0.0,0.0"),
        ([], [post(1, 1), post(2, 1, "t", "long")], "0,2,0,0.0,3.0,4.0"),
        ([user(1), user(2), user(3)], [post(1, 1, "a", "b")], "3,1,1,0.33,1.0,1.0"),
    ],
)
def test_the_summary_is_one_row_whatever_there_is(
    tmp_path: Path, users: Rows, posts: Rows, line: str
) -> None:
    _, files = made(users, posts, tmp_path)
    assert Path(str(files["summary.csv"].file)).read_text().splitlines()[1:] == [line]
    assert files["summary.csv"].rows == 1
    assert files["users.csv"].rows == len(users)


def test_text_that_csv_could_mistake_is_read_back_as_it_was(tmp_path: Path) -> None:
    title = 'a "quoted", comma\nand \0 line'
    _, files = made([user(1)], [post(1, 1, title, "ü;\r\n'x'")], tmp_path)
    with Path(str(files["posts_enriched.csv"].file)).open(newline="", encoding="utf-8") as lines:
        found = list(csv.DictReader(lines))
    assert (found[0]["title"], found[0]["body"]) == (title, "ü;\r\n'x'")


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        tables, files = made(made_up_users(12), made_up_posts(120, 12), folder)
        contents.append([Path(str(one.file)).read_bytes() for one in (*tables.values(), *files.values())])
    assert contents[0] == contents[1]
