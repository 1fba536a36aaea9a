"""What DuckDB and others say of a file that they cannot read, in the words of who has to mend it."""

import re
from pathlib import Path

HEAD_BYTES = 1024
PAGES = (b"<!doctype", b"<html", b"<?xml")
LONGEST_LINE = 80
LONGEST = 300
LINE = re.compile(r".*?CSV Error on Line: (\d+)\s+Original Line: ?(.*)", re.DOTALL)
COLUMNS = re.compile(r"Expected Number of Columns: (\d+) Found: (\d+)")
MARKS = "mend the file, or say its `custom: {delimiter: …, quote: …, escape: …}`"
DIALECT = f"{MARKS}, or `skip_rows` and `skip_footer` where such lines are no rows"


def is_page(file: Path) -> bool:
    """Whether a file is what web servers send in place of data: HTML or XML."""
    with file.open("rb") as content:
        return content.read(HEAD_BYTES).lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGES)


def complaint(error: Exception, file: Path) -> str:
    """What is wrong with a file, where in it, and what can be done."""
    if file.is_file() and is_page(file):
        return "it is a page of HTML or XML"
    text = str(error)
    if line := LINE.match(text):
        return _of_line(line[1], line[2])
    said = re.split(r"\n\n|\bLINE \d+:|Possible [a-z]+:|; It might", text)[0]
    said = re.sub(r"^([A-Z]\w+ )+Error: ", "", said).replace(str(file), file.name)
    return " ".join(said.split())[:LONGEST].rstrip(".")


def _of_line(number: str, rest: str) -> str:
    content = rest.partition("\n")[0]
    shown = content if len(content) <= LONGEST_LINE else content[: LONGEST_LINE - 1] + "…"
    tail = rest[-LONGEST_LINE * 100 :]
    if found := COLUMNS.search(tail):
        return f"line {number} has {found[2]} in place of {found[1]} columns ({shown}): {DIALECT}"
    if "unterminated quote" in tail:
        return f"line {number} has a quote that is not closed, or not doubled ({shown}): {MARKS}"
    if "not utf-8" in tail:
        return f"line {number} is not UTF-8 ({shown}): say `custom: {{encoding: …}}`"
    return f"line {number} cannot be read ({shown}): {MARKS}"
