"""A prompt parsed for the guards: its words in one spelling, numbers, names, negations and literals."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from decimal import Decimal
from functools import cache, lru_cache
from typing import NamedTuple

KEPT_PROMPTS = 4096
"""How many parsed prompts are kept, some 3 kB each if they have ten words: the same stored prompts are met often."""

NEGATORS = frozenset(
    "not no never without none nobody nothing nowhere neither nor unable fail fails failed failing impossible unless "
    "hardly except".split()
)

_AUXILIARIES = frozenset("is are was were do does did can could would will shall should has have had".split())

_UNITS = "zero one two three four five six seven eight nine".split()
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_ORDINALS = "third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
_NUMBER_WORDS = (
    {word: str(value) for value, word in enumerate(_UNITS + _TEENS) if word != "one"}
    | {word: str(value) for value, word in enumerate(_ORDINALS, start=3)}
    | {word + "th": str(value) for value, word in enumerate(_TEENS, start=10) if value > 12}
    | {word: str(10 * value) for value, word in enumerate(_TENS, start=2)}
    | {word[:-1] + "ieth": str(10 * value) for value, word in enumerate(_TENS, start=2)}
    | {"twice": "2", "dozen": "12", "hundred": "100", "thousand": "1000", "million": "1000000", "billion": "1000000000"}
)
_COMPOUNDS = {
    f"{ten}-{unit}": str(10 * tens + units)
    for tens, ten in enumerate(_TENS, start=2)
    for units, unit in [*enumerate(_UNITS), (1, "first"), (2, "second"), *enumerate(_ORDINALS[:7], start=3)]
}
_MAGNITUDES = {"k": 3, "m": 6, "bn": 9, "hundred": 2, "thousand": 3, "lakh": 5, "million": 6, "crore": 7, "billion": 9}
SPELLED_OUT = {"1st": "first", "2nd": "second"}
"""Ordinals whose words have other meanings, too ("a second"), so that the words are not read as numbers."""

_SIGNS = {"$": "dollar", "€": "euro", "£": "pound", "¥": "yen", "%": "percent", "°": "degree", "&": "and", "₹": "rupee"}

# Patterns are compiled on first use: to compile them takes longer than all else that importing the guards does.
_CONTRACTIONS = (
    (r"(?i)\b(?:can['’]?t|cannot)\b", "can not"),
    (r"(?i)\bno matter\b", "whatever"),
    (r"(?i)\bwon['’]?t\b", "will not"),
    (r"(?i)\bain['’]?t\b", "is not"),
    (r"(?i)\b(is|are|was|were|do|does|did|could|would|should|has|have|had|must|need)n['’]?t\b", r"\1 not"),
    (r"(?i)\b(it|let|when|why)['’]s\b|\b(that|what|who|where|how|there|here)['’]?s\b", r"\1\2 is"),
    (r"(?i)['’](?:re|ve|ll|d|m|s)?(?!\w)", " "),
)
_MERIDIEM = r"(?i)\b(\d{1,2})(?:[:.](\d\d))?\s*([ap])\.?m\b\.?"
_THOUSANDS = r"(?<=\d)[,'](?=\d{3}(?!\d))"
_MAGNIFIED = (
    r"(?i)(?<=[$€£])(\d{1,12}(?:\.\d{1,12})?)(m)\b"
    r"|(?<![\w.])(\d{1,12}(?:\.\d{1,12})?)(k|[\s-]?(?:hundred|thousand|lakh|million|crore|bn|billion)"
    r"|m(?=\s(?:dollars|euros|pounds|usd|eur|gbp)))\b"
)
_TRAILING_ZEROS = r"\d+\.\d*0+"
_FIRST_AND_SECOND = r"\b(?:1st|2nd)\b"
_ORDINAL = r"(?i)\b(\d+)(?:st|nd|rd|th)\b"
_COURTESIES = (
    r"(?i)\bif (?:it|that)(?: i)?s not (?:too much )?(?:of )?(?:a )?(?:trouble|bother|to ask)\b"
    r"|\bif (?:you do not mind|you can|you could|possible)\b|\b(?:would|could|do|can) you mind\b"
    r"|\b(?:thanks|thank you|thx|ty|cheers)(?: you)?(?: so much| very much| a lot| a bunch| in advance)*"
    r"|\b(?:no|there is no) (?:rush|hurry|worries)\b|\bsorry (?:to|for) (?:bother|disturb)(?:ing)? you\b"
    r"|\bwhen(?:ever)? you (?:get|have) (?:a|the|some) (?:chance|moment|minute|sec|second|time)\b"
    r"|\b(?:i would |i )?(?:really |much |greatly )?appreciate (?:it|(?:any|your|the) (?:help|advice|tips))\b"
    r"|\bhope you are (?:doing )?(?:well|fine|good)\b|\bor not(?=\W*$)|\bquick question\b"
)
_WORD = r"\d+(?:[.:/]\d+)*|[^\W\d_]+(?:-[^\W\d_]+)*(?:\+\+|#)?|[$€£¥%°&₹]"
_SENTENCE_END = r"[.?!:;\n]\s*$|[\"“”(\[*]\s*$"

_LITERALS = (
    r"`[^`]+`"  # between back quotes
    r"|(?<!\S)--?[A-Za-z][\w-]*"  # an option of a command
    r"|(?<![\w/])[~.]{0,2}/[\w./-]*\w"  # a path
    r"|[A-Za-z]:\\\S+"
    r"|\b(?!\d+\.\d+[a-z]*\b)\w+(?:[._]\w+)+(?:\(\))?|\b\w+\(\)"  # dotted_or_underlined names, calls
    r"|\b[a-z]+[A-Z]\w*|[A-Za-z](?:\+\+|#)(?!\w)"  # camelCase, C++
    r"|[=!<>]=+|(?<=\s)[<>](?=\s)"  # comparisons
    r"|\b[A-Z]+-?\d[\w-]*"  # E404, PS-5
    r"|(?<![\w.+-])[\w.+-]+@[\w.-]*\w|(?<!\w)[@#]\w+"
)
_QUOTED = r"[\"“”]([^\"“”]{1,200})[\"“”]|(?<!\w)['‘]([^'‘’]{2,200})['’](?!\w)"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


class ParsedPrompt(NamedTuple):
    """What the guards need to know of one prompt.

    Attributes:
        words: all words in their order, in lower case, contractions expanded, numbers in digits, courtesies left out.
        original: the same words with their capitals, and number words as they are; as many as `words`.
        vocabulary: each of `words` once.
        names: those of `words` that have a capital and begin no sentence; none if most words have one.
        numbers: all numbers in digits, sorted as text, each as often as it occurs.
        literals: code, options, paths, identifiers and quoted text, unchanged.
        negations: how many words negate; the "not" of a question such as "isn't it ...?" does not count.
        flat: the prompt in lower case, otherwise unchanged.
    """

    words: tuple[str, ...]
    original: tuple[str, ...]
    vocabulary: frozenset[str]
    names: frozenset[str]
    numbers: tuple[str, ...]
    literals: frozenset[str]
    negations: int
    flat: str


@lru_cache(KEPT_PROMPTS)
def parse(prompt: str) -> ParsedPrompt:
    """Return a prompt parsed; the prompts parsed last are kept.

    >>> parse("Isn't it $1.5k, or twenty-one?").words
    ('is', 'not', 'it', 'dollar', '1500', 'or', '21')
    >>> parse("Does `len` count as Python does?").names
    frozenset({'python'})
    """
    original: list[str] = []
    begins: list[bool] = []
    for word, fresh in _words(_in_one_spelling(prompt)):
        original.append(word)
        begins.append(fresh)
    words = tuple(_NUMBER_WORDS.get(word.lower(), _SIGNS.get(word, word.lower())) for word in original)
    capitals = [word[0].isupper() for word in original]
    # Capitals in most of the words of a prompt are emphasis or a headline: they mark no names.
    shouted = sum(capitals) > 0.6 * len(capitals) and len(capitals) > 3
    return ParsedPrompt(
        words=words,
        original=tuple(original),
        vocabulary=frozenset(words),
        names=frozenset(
            lower
            for lower, word, capital, fresh in zip(words, original, capitals, begins, strict=True)
            if capital and not shouted and lower != "i" and (not fresh or (word.isupper() and len(word) > 1))
        ),
        numbers=tuple(
            sorted([word for word in words if word[0].isdigit()] + _compiled(_FIRST_AND_SECOND).findall(prompt.lower()))
        ),
        literals=frozenset(_literals(prompt)),
        negations=sum(
            word in NEGATORS and not (word == "not" and _asks(words, begins, at)) for at, word in enumerate(words)
        ),
        flat=prompt.lower(),
    )


def _in_one_spelling(prompt: str) -> str:
    """Return a prompt with contractions expanded, courtesies dropped, and times and amounts in plain digits."""
    for pattern, replacement in _CONTRACTIONS:
        prompt = _compiled(pattern).sub(replacement, prompt)
    prompt = _compiled(_COURTESIES).sub(" ", prompt)
    prompt = _compiled(_MERIDIEM).sub(_on_the_clock, prompt)
    prompt = _compiled(_THOUSANDS).sub("", prompt)
    prompt = _compiled(_MAGNIFIED).sub(_in_full, prompt)
    return _compiled(_ORDINAL).sub(_as_cardinal, prompt)


def _on_the_clock(found: re.Match[str]) -> str:
    hour = int(found[1]) % 12 + (12 if found[3].lower() == "p" else 0)
    return f"{hour}:{found[2] or '00'}"


def _in_full(found: re.Match[str]) -> str:
    number, unit = filter(None, found.groups())
    return format(Decimal(number).scaleb(_MAGNITUDES[unit.strip(" -\n\t").lower()]).normalize(), "f")


def _as_cardinal(found: re.Match[str]) -> str:
    return SPELLED_OUT.get(found[0].lower(), found[1])


def _words(prompt: str) -> Iterator[tuple[str, bool]]:
    """Yield each word, and whether it begins a sentence."""
    sentence_end = _compiled(_SENTENCE_END)
    end, fresh = 0, True
    for found in _compiled(_WORD).finditer(prompt):
        fresh = fresh or sentence_end.search(prompt, end, found.start()) is not None
        word = found.group()
        parts = word.split("-")
        if word.lower() in _COMPOUNDS:
            yield _COMPOUNDS[word.lower()], fresh
        # "seven-day" is "7 day"; "sign-in" stays one word.
        elif len(parts) > 1 and any(part.lower() in _NUMBER_WORDS for part in parts):
            for part in parts:
                yield part, fresh
                fresh = False
        else:
            yield _number(word) if word[0].isdigit() else word, fresh
        end, fresh = found.end(), False


def _number(text: str) -> str:
    return text.rstrip("0").rstrip(".") if _compiled(_TRAILING_ZEROS).fullmatch(text) else text


def _asks(words: tuple[str, ...], begins: list[bool], at: int) -> bool:
    """Return whether the "not" at this place belongs to a question that begins with its verb: "isn't it ...?"."""
    return at > 0 and words[at - 1] in _AUXILIARIES and begins[at - 1]


def _literals(prompt: str) -> Iterator[str]:
    yield from (found.strip("`") for found in _compiled(_LITERALS).findall(prompt))
    for double, single in _compiled(_QUOTED).findall(prompt):
        yield (double or single).strip().rstrip(".,!?")


def capital_forms(parsed: ParsedPrompt, words: Collection[str]) -> dict[str, set[str]]:
    """Return how a prompt capitalises words, its first word left out, which has a capital whatever it means.

    Args:
        parsed: the prompt.
        words: the words to look for, in lower case.

    Returns:
        For each of `words` in the prompt, its forms: "aa" in lower case, "Aa" with a capital, "AA" in capitals.

    >>> capital_forms(parse("Does Polish polish shine?"), {"polish", "turkey"}) == {"polish": {"Aa", "aa"}}
    True
    """
    forms: dict[str, set[str]] = {}
    for place, (word, original) in enumerate(zip(parsed.words, parsed.original, strict=True)):
        if place and word in words:
            form = "AA" if original.isupper() and len(original) > 1 else "Aa" if original[0].isupper() else "aa"
            forms.setdefault(word, set()).add(form)
    return forms
