"""Made-up users and posts, the same every time."""

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]

GIVEN_NAMES = ("Ada", "Bruno", "Chiara", "Dmitri", "Esra", "Femi", "Greta", "Hiro", "Ines", "Jonas")
FAMILY_NAMES = ("Amari", "Bauer", "Castro", "Dahl", "Eriksen", "Fontaine", "Gruber", "Haddad", "Ito")
WORDS = (
    *("harbour", "lantern", "maple", "orchard", "pebble", "river", "saddle", "thimble", "umbrella", "violin"),
    *("window", "yarrow", "zephyr"),
)


def made_up_users(count: int) -> list[Row]:
    """Users whose e-mails begin with a capital."""
    return [_user(number) for number in range(count)]


def made_up_posts(count: int, users: int) -> list[Row]:
    """Posts with space around title and body. Some users wrote more than others, and some none."""
    return [
        {
            "userId": (number * number) % max(users - 1, 1) + 1,
            "id": number + 1,
            "title": f"  {_words(number, 3)} ",
            "body": f"{_words(number, 9)}\n{_words(number + 5, 4 + number % 6)}\n",
        }
        for number in range(count)
    ]


def _user(number: int) -> Row:
    given, family = _pick(GIVEN_NAMES, number), _pick(FAMILY_NAMES, number * 5 + number // 7)
    username = f"{given.lower()}{number + 1}"
    return {
        "id": number + 1,
        "name": f"{given} {family}",
        "username": username,
        "email": f"{given}.{family.lower()}@Example.org",
        "phone": f"555-01{number % 100:02}",
        "website": f"{username}.example.org",
    }


def _pick(values: Sequence[str], number: int) -> str:
    return values[number % len(values)]


def _words(number: int, count: int) -> str:
    return " ".join(_pick(WORDS, number * 3 + at * (number % 5 + 1)) for at in range(count))
