import pytest

from flows.ingest.page_links import Link, absolute, canonical_url, decode, matching, read_page

PAGE = "http://example.org/a/page"


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTP://Example.ORG:80", "http://example.org/"),
        ("https://example.org:443/a/../b/./c?x=1#top", "https://example.org/b/c?x=1"),
        ("https://example.org:8443/a/..", "https://example.org:8443/"),
        ("http://münchen.example/ü?q=ö", "http://xn--mnchen-3ya.example/%C3%BC?q=%C3%B6"),
        ("http://example.org/%7Ea%zz", "http://example.org/%7Ea%25zz"),
        ("http://[::1]:80/", "http://[::1]/"),
        ("http://user:secret@example.org/", None),
        ("ftp://example.org/", None),
        ("http:///path", None),
        ("http://example.org:port/", None),
    ],
)
def test_a_url_has_one_spelling(url: str, canonical: str | None) -> None:
    assert canonical_url(url) == canonical


@pytest.mark.parametrize(
    ("href", "target"),
    [
        ("b.csv", "http://example.org/a/b.csv"),
        ("/b.csv", "http://example.org/b.csv"),
        ("//other.example/b", "http://other.example/b"),
        ("?year=2026", "http://example.org/a/page?year=2026"),
        (" b\n.csv\t", "http://example.org/a/b.csv"),
        ("\\b\\c.csv", "http://example.org/b/c.csv"),
        ("b.csv#row=3", "http://example.org/a/b.csv"),
        ("#top", None),
        ("", None),
        ("mailto:a@example.org", None),
        ("tel:+1", None),
        ("javascript:void(0)", None),
        ("data:text/plain,x", None),
        ("http://[broken/", None),
    ],
)
def test_a_link_becomes_absolute_or_is_none(href: str, target: str | None) -> None:
    assert absolute(href, PAGE) == target


def test_links_are_sorted_each_once_with_the_first_title_that_says_something() -> None:
    html = """<title> A
      page </title><a href="z.csv"><img></a><a href="z.csv#x">The <b>last</b>
      one</a><a href="b.csv" title="By its title"></a><a href="mailto:x@y">no</a><!-- <a href="c">no</a> -->
      <script>"<a href='d'>no</a>"</script><map><area href="y" alt="A place"></map><a>no</a>
      <a href="open">End"""
    page = read_page(html, PAGE)
    assert page.title == "A page"
    assert page.url == PAGE
    assert page.links == (
        Link(url="http://example.org/a/b.csv", title="By its title"),
        Link(url="http://example.org/a/open", title="End"),
        Link(url="http://example.org/a/y", title="A place"),
        Link(url="http://example.org/a/z.csv", title="The last one"),
    )


def test_a_page_says_where_its_links_begin_and_what_it_is_called() -> None:
    html = '<base href="/deep/er/"><link rel="Canonical" href="/the-page#x"><a href="f.csv">f</a>'
    page = read_page(html, PAGE)
    assert page.url == "http://example.org/the-page"
    assert [link.url for link in page.links] == ["http://example.org/deep/er/f.csv"]


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        ("Köln".encode(), None),
        ("Köln".encode("latin-1"), "text/html; charset=ISO-8859-1"),
        ('<meta charset="latin-1">Köln'.encode("latin-1"), "text/html"),
        ('<meta http-equiv=x content="text/html; charset=latin-1">Köln'.encode("latin-1"), None),
        (b"\xef\xbb\xbf" + "Köln".encode(), "text/html; charset=latin-1"),
        ("\ufeffKöln".encode("utf-16-le"), None),
        ("Köln".encode(), "text/html; charset=nonsense"),
    ],
)
def test_a_page_is_read_in_its_character_set(content: bytes, content_type: str | None) -> None:
    assert decode(content, content_type).endswith("Köln")


def test_followed_links_fit_a_pattern_whatever_their_query_says() -> None:
    links = [Link(url=f"http://h/{path}", title="") for path in ("a/x.csv?v=1", "a/x.pdf", "b%20c/y.csv")]
    assert [link.url for link in matching(links, ["*/a/*.csv", "*b c*"])] == [links[0].url, links[2].url]
    assert matching(links, []) == ()
