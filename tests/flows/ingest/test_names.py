import re
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.ingest.names import MOST_CHARACTERS, name_of_disposition, name_of_url, page_key, safe_name
from larder.names import is_plain_name


@pytest.mark.parametrize(
    ("given_name", "safe"),
    [
        ("My File-1 (v2).PDF", "My_File_1_v2.PDF"),
        ("../../etc/passwd", "passwd"),
        ("", "downloaded_file"),
        ("a&b,c.txt", "a_b_c.txt"),
        (".hidden", "hidden"),
        ("..\\..\\windows\\report 1.xlsx", "report_1.xlsx"),
        ("archive.tar.gz", "archive.tar.gz"),
        ("Übersicht für Köln.csv", "Ubersicht_fur_Koln.csv"),
        ("数据.csv", "downloaded_file.csv"),
        ("..", "downloaded_file"),
        ("folder/", "downloaded_file"),
        ("a\x00b\n.csv", "a_b.csv"),
        ("x" * 300 + ".csv", "x" * 96 + ".csv"),
        ("x" * 300, "x" * 100),
    ],
)
def test_a_name_is_made_safe(given_name: str, safe: str) -> None:
    assert safe_name(given_name) == safe


@given(st.text(max_size=400))
def test_a_safe_name_is_a_plain_name_and_stays_as_it_is(text: str) -> None:
    safe = safe_name(text)
    assert is_plain_name(safe)
    assert len(safe) <= MOST_CHARACTERS
    assert safe_name(safe) == safe


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="a b.csv"', "a b.csv"),
        ("attachment; filename=plain.csv", "plain.csv"),
        ("attachment;FileName = plain.csv ; size=3", "plain.csv"),
        ("attachment; filename=old.csv; filename*=UTF-8''na%C3%AFve%20x.csv", "naïve x.csv"),
        ("attachment; filename*=utf-8'en'%e2%82%ac%20rates; filename=EURO", "€ rates"),
        ("attachment; filename*=iso-8859-1'en'%A3.txt", "£.txt"),
        ('attachment; filename="say \\"hi\\"; now.csv"', 'say "hi"; now.csv'),
        ('attachment; filename="C:\\dir\\file.txt"', "C:\\dir\\file.txt"),
        ("attachment; filename*=no-such-charset''%ff; filename=fallback.csv", "fallback.csv"),
        ("attachment; filename*=UTF-8''%ff%fe; filename=fallback.csv", "fallback.csv"),
        ("attachment; filename*=broken; filename=fallback.csv", "fallback.csv"),
        ("attachment; filename=first.csv; filename=second.csv", "first.csv"),
        ("inline", None),
        ('attachment; filename=""', None),
        ("", None),
        (None, None),
    ],
)
def test_content_disposition_names_a_file(header: str | None, name: str | None) -> None:
    assert name_of_disposition(header) == name


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=40))
def test_a_name_that_another_program_encodes_is_read(name: str) -> None:
    message = Message()
    message.add_header("Content-Disposition", "attachment", filename=("utf-8", "", name))
    header = re.sub(r"\s*\n\s*", " ", message["Content-Disposition"])
    assert name_of_disposition(header) == name


def test_a_url_names_a_file() -> None:
    assert name_of_url("https://example.org/a/b%20c.csv?x=/y.csv") == "b c.csv"
    assert name_of_url("https://example.org/") == ""


PARTS = st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=5)


@given(PARTS, PARTS)
def test_keys_of_pages_suit_prefect_and_never_collide(one: list[str], other: list[str]) -> None:
    key = page_key(*one)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key)
    assert len(key) <= 200
    assert (key == page_key(*other)) == (one == other)
