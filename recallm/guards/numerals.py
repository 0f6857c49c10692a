"""How numbers are written: amounts, dates, times, ranges, signs and number words in one spelling.

A date, a time, a version, an address, a fraction and a telephone number are one number each. The two numbers of a
range, a score or a difference stay two: "10-20" is "10 to 20", and their order counts.
"""

from __future__ import annotations

import re
from decimal import Decimal

from recallm.guards.patterns import compiled

_UNITS = "zero one two three four five six seven eight nine".split()
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_ORDINALS = "third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
NUMBER_WORDS = (
    {word: str(value) for value, word in enumerate(_UNITS + _TEENS) if word != "one"}
    | {word: str(value) for value, word in enumerate(_ORDINALS, start=3)}
    | {word + "th": str(value) for value, word in enumerate(_TEENS, start=10) if value > 12}
    | {word: str(10 * value) for value, word in enumerate(_TENS, start=2)}
    | {word[:-1] + "ieth": str(10 * value) for value, word in enumerate(_TENS, start=2)}
    | {"twice": "2", "dozen": "12", "hundred": "100", "thousand": "1000", "million": "1000000", "billion": "1000000000"}
)
COMPOUNDS = {
    f"{ten}-{unit}": str(10 * tens + units)
    for tens, ten in enumerate(_TENS, start=2)
    for units, unit in [*enumerate(_UNITS), (1, "first"), (2, "second"), *enumerate(_ORDINALS[:7], start=3)]
}
_MAGNITUDES = {"k": 3, "m": 6, "bn": 9, "hundred": 2, "thousand": 3, "lakh": 5, "million": 6, "crore": 7, "billion": 9}
SPELLED_OUT = {"1st": "first", "2nd": "second"}
"""Ordinals whose words have other meanings, too ("a second"), so that the words are not read as numbers."""

_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_MONTH = (
    r"(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY = r"(?<![\w.:,/-])(\d{1,2})(?:st|nd|rd|th)?\b(?![.:,]\d)"
_YEAR = r"(?:,?\s(\d{4})\b)?"
_DAY_FIRST = rf"(?i){_DAY}\s(?:of\s)?{_MONTH}{_YEAR}"
_MONTH_FIRST = rf"(?i)\b{_MONTH}\s(?:the\s)?{_DAY}{_YEAR}"

_OTHER_SIGNS = str.maketrans({"−": "-", "–": "-", "‑": "-", "½": "1/2", "¼": "1/4", "¾": "3/4"})
_HALF_OF = r"(?i)\bhalf an?\b"
_AND_A_HALF = r"(?i)\b(?:(?:an?|one) ([^\W\d_]{1,20})|(\d{1,9}|[a-z]{1,9})) and a half\b"
_MERIDIEM = r"(?i)\b(\d{1,2})(?:[:.](\d\d))?\s*([ap])\.?m\b\.?"
_THOUSANDS = r"(?<![\w.,'])[1-9]\d{0,2}(?:[,']\d{2,3})*[,']\d{3}(?!\d|[,']\d)"
_MAGNIFIED = (
    r"(?i)(?<=[$€£])(\d{1,12}(?:\.\d{1,12})?)(m)\b"
    r"|(?<![\w.])(\d{1,12}(?:\.\d{1,12})?)(k|[\s-]?(?:hundred|thousand|lakh|million|crore|bn|billion)"
    r"|m(?=\s(?:dollars|euros|pounds|usd|eur|gbp)))\b"
)
_TELEPHONE = r"(?<![\w)])\+\d[\d ().-]{6,20}\d(?!\w)"
_CHAIN = r"(?<![\w.-])\d[\d.:/]*+(?:(?:-|\s-\s|\sminus\s)\d[\d.:/]*+)+"
_SPACED_DASH = r"\s(?:-|minus)\s"
_IN_A_YEAR = r"(?i)\b(?:the\s)?year\s(?=(?:19|20)\d\d\b)"
_BLOOD_PRESSURE = r"(?i)\b(\d{2,3})\sover\s(\d{2,3})\b(?![.,:]\d)"
_AREA_CODE = r"\((\d{3})\)\s?(?=\d{3}-\d{4}\b)"
_OPEN_RANGE = r"(?<=\d)\+(?![\w+])"
_MINUS = r"(?i)\b(?:minus|negative)\s(?=\.?\d)|-([$€£¥])(?=\d)"
_OPERATOR = r"(?<=\d)(?:\s?(\+|\*\*?|[×÷^])\s?|\s(/)\s)(?=-?\d)"
_COMPARISON = r"(?<![<>=!-])([<>]=?)\s?(?=-?\d)"
_COMPARISONS = {"<": "less than", ">": "more than", "<=": "at most", ">=": "at least"}
_SIGNS = frozenset("+*×÷^/<>")
_OPERATORS = {
    "+": "plus",
    "*": "times",
    "×": "times",
    "/": "divided by",
    "÷": "divided by",
    "^": "power",
    "**": "power",
}

NUMBER = (
    r"(?:(?<![^\s(\[{=<>:,;/^$€£¥\"'“‘])-|(?<=UTC)-|(?<=GMT)-)?"  # a minus sign, not the hyphen of "PS-5"
    r"(?:(?<![\d.,(\[])\d++,\d++(?![\d,)\]]|\.\d)"  # a decimal comma, no list of arguments
    r"|(?:(?<![\w.])\.)?\d++(?:[.:/-]\d++)*+(?:[eE][+-]?\d++(?!\w))?(?:(?:st|nd|rd|th|ST|ND|RD|TH)(?![^\W_]))?)"
)
"""The pattern of a number in a prompt that `in_digits` has rewritten."""

_BEFORE_OR_AFTER_NOON = ("am", "pm", "a.m", "p.m")
_CALENDAR_DATE = r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})"


def is_number(word: str) -> bool:
    """Return whether a word of a parsed prompt is a number.

    >>> is_number("-20"), is_number("3.11"), is_number("top"), is_number("-")
    (True, True, False, False)
    """
    return word[0].isdecimal() or (word[0] == "-" and word[1:2].isdecimal())


def in_digits(prompt: str, folded: str) -> str:
    """Return a prompt with its amounts, dates, times, ranges and operators in one spelling.

    Args:
        prompt: the text.
        folded: the same text in lower case.

    >>> prompt = "-$5 or 1.5k, 9-5, at 3 pm on May 2nd, 2024"
    >>> in_digits(prompt, prompt.lower())
    '$-5 or 1500, 9 to 5, at 15:00 on 2024-05-02'
    """
    if not prompt.isascii():
        prompt = prompt.translate(_OTHER_SIGNS)
    if "half" in folded:
        prompt = compiled(_HALF_OF).sub("0.5", prompt)
        prompt = compiled(_AND_A_HALF).sub(_with_a_half, prompt)
    if compiled(r"\d").search(prompt) is None:
        return prompt
    prompt = _in_fewer_words(prompt, folded)
    if any(map(folded.__contains__, _BEFORE_OR_AFTER_NOON)):
        prompt = compiled(_MERIDIEM).sub(_on_the_clock, prompt)
    prompt = compiled(_THOUSANDS).sub(_without_separators, prompt)
    prompt = compiled(_MAGNIFIED).sub(_in_full, prompt)
    if "+" in prompt:
        prompt = compiled(_TELEPHONE).sub(_without_separators, prompt)
        prompt = compiled(_OPEN_RANGE).sub(" or more", prompt)
    if "-" in prompt or "minus" in folded or "negative" in folded:
        prompt = compiled(_AREA_CODE).sub(r"\1-", prompt)
        prompt = compiled(_CHAIN).sub(_as_range, prompt)
        prompt = compiled(_MINUS).sub(_as_sign, prompt)
    if not _SIGNS.isdisjoint(prompt):
        prompt = compiled(_OPERATOR).sub(lambda found: f" {_OPERATORS[found[1] or found[2]]} ", prompt)
        prompt = compiled(_COMPARISON).sub(lambda found: f" {_COMPARISONS[found[1]]} ", prompt)
    if any(map(folded.__contains__, _MONTHS)):
        prompt = compiled(_DAY_FIRST).sub(lambda found: _as_date(found[3], found[2], found[1]), prompt)
        prompt = compiled(_MONTH_FIRST).sub(lambda found: _as_date(found[3], found[1], found[2]), prompt)
    return prompt


def _in_fewer_words(prompt: str, folded: str) -> str:
    """Return a prompt with a year as its number alone, and with a blood pressure as a fraction."""
    if "year " in folded:
        prompt = compiled(_IN_A_YEAR).sub("", prompt)
    return compiled(_BLOOD_PRESSURE).sub(r"\1/\2", prompt) if " over " in folded else prompt


def plain(number: str) -> str:
    """Return what `NUMBER` found in one spelling.

    Zeros at the end of a fraction are left out only if all of it is zeros: Python 3.10 is not 3.1, and "1.000" is a
    thousand in some languages.

    >>> plain("5.00"), plain("3.10"), plain("1.000"), plain(".5"), plain("21st"), plain("2024/1/2")
    ('5', '3.10', '1.000', '0.5', '21', '2024-01-02')
    """
    if number.isdecimal():
        return number
    if number[-1].isalpha():
        return number.lower() if number.lower() in SPELLED_OUT else number[:-2]
    sign, number = ("-", number[1:]) if number[0] == "-" else ("", number)
    if number[0] == ".":
        number = "0" + number
    date = compiled(_CALENDAR_DATE).fullmatch(number)
    if date is not None:
        return f"{sign}{date[1]}-{date[2]:>02}-{date[3]:>02}"
    whole, point, fraction = number.partition(".")
    return sign + (whole if point and fraction in ("0", "00") else number)


def _with_a_half(found: re.Match[str]) -> str:
    unit, number = found.groups()
    if unit:
        return f"1.5 {unit}"
    whole = {"one": "1", "a": "1", "an": "1"}.get(number.lower()) or NUMBER_WORDS.get(number.lower(), number)
    return f"{whole}.5" if whole.isdecimal() else found[0]


def _on_the_clock(found: re.Match[str]) -> str:
    hour = int(found[1]) % 12 + (12 if found[3].lower() == "p" else 0)
    return f"{hour}:{found[2] or '00'}"


def _without_separators(found: re.Match[str]) -> str:
    return "".join(filter(str.isdecimal, found[0]))


def _in_full(found: re.Match[str]) -> str:
    number, unit = filter(None, found.groups())
    return format(Decimal(number).scaleb(_MAGNITUDES[unit.strip(" -\n\t").lower()]).normalize(), "f")


def _as_range(found: re.Match[str]) -> str:
    spaced = compiled(_SPACED_DASH).sub(" to ", found[0])
    # Three or more parts without spaces are a date or a telephone number.
    return found[0].replace("-", " to ") if spaced == found[0] and found[0].count("-") == 1 else spaced


def _as_sign(found: re.Match[str]) -> str:
    return (found[1] or "") + "-"


def _as_date(year: str | None, month: str, day: str) -> str:
    return f"{year + '-' if year else ''}{_MONTHS.index(month[:3].lower()) + 1:02}-{day:>02}"
