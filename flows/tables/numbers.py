"""SQL for numbers that stand as text: whether a number of SQL holds all of their digits."""

SAFE_DIGITS = 15
"""Decimals of so many digits are the same after they were a double."""


def is_exact_integer(text: str) -> str:
    """SQL for whether a text is an integer of at most 64 bits."""
    return f"({_is_plain(text)} and try_cast({text} as bigint) is not null)"


def is_exact_double(text: str) -> str:
    """SQL for whether a double holds all digits of a number, and 64 bits hold it where it is an integer."""
    digits = f"ltrim({_digits(text)}, '0')"
    double = f"abs(try_cast({text} as double))"
    printed = _digits(f"format('{{:.{{}}e}}', {double}, greatest(length({digits}), 1) - 1)")
    shortest = f"trim({_digits(f'{double}::varchar')}, '0')"
    held = f"({printed} = {digits} or {shortest} = trim({digits}, '0'))"
    enough = f"case when length({text}) <= {SAFE_DIGITS} then {double} > 0 or {digits} = '' else {held} end"
    integer = f"case when {_is_plain(text)} then try_cast({text} as bigint) is not null else true end"
    return f"(coalesce(isfinite({double}), false) and {integer} and {enough})"


def _is_plain(text: str) -> str:
    return f"not (contains({text}, '.') or contains(lower({text}), 'e'))"


def _digits(number: str) -> str:
    return f"regexp_replace(split_part(lower({number}), 'e', 1), '[^0-9]', '', 'g')"
