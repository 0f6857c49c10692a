"""A prompt as the guards see it: words in one spelling, numbers, names, and what must be taken literally."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

KEPT_READINGS = 4096

NEGATORS = frozenset(
    "not no never without none nobody nothing nowhere neither nor unable fail fails failed failing impossible unless "
    "hardly except".split()
)

_AUXILIARIES = frozenset("is are was were do does did can could would will shall should has have had".split())

_NUMERALS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
_NUMBER_WORDS = {word: str(value) for value, word in enumerate(_NUMERALS) if word != "one"} | {
    "twice": "2",
    "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90",
    "hundred": "100", "thousand": "1000", "million": "1000000", "billion": "1000000000", "dozen": "12",
    "third": "3", "fourth": "4", "fifth": "5", "sixth": "6", "seventh": "7", "eighth": "8", "ninth": "9", "tenth": "10",
}  # fmt: skip
_SIGNS = {"$": "dollar", "€": "euro", "£": "pound", "¥": "yen", "%": "percent", "°": "degree", "&": "and", "₹": "rupee"}

_CONTRACTIONS = (
    (re.compile(r"\b(?:can['’]?t|cannot)\b", re.I), "can not"),
    (re.compile(r"\bwon['’]?t\b", re.I), "will not"),
    (re.compile(r"\bain['’]?t\b", re.I), "is not"),
    (
        re.compile(r"\b(is|are|was|were|do|does|did|could|would|should|has|have|had|must|need)n['’]?t\b", re.I),
        r"\1 not",
    ),
    (re.compile(r"\b(it|that|what|who|where|how|there|here|let|when|why)['’]s\b", re.I), r"\1 is"),
    (re.compile(r"['’](?:re|ve|ll|d|m|s)?(?!\w)", re.I), " "),
)
_MERIDIEM = re.compile(r"\b(\d{1,2})(?:[:.](\d\d))?\s*([ap])\.?m\b\.?", re.I)
_THOUSANDS = re.compile(r"(?<=\d)[,'](?=\d{3}(?!\d))")
_TIMES_THOUSAND = re.compile(r"\b(\d+)k\b", re.I)
_ORDINAL = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b", re.I)
_WORD = re.compile(r"\d+(?:[.:/]\d+)*|[^\W\d_]+(?:-[^\W\d_]+)*(?:\+\+|#)?|[$€£¥%°&₹]")
_SENTENCE_END = re.compile(r"[.?!:;\n]\s*$|[\"“”(\[*]\s*$")

_LITERALS = re.compile(
    r"`[^`]+`"  # between back quotes
    r"|(?<!\S)--?[A-Za-z][\w-]*"  # an option of a command
    r"|(?<![\w/])[~.]{0,2}/[\w./-]*\w"  # a path
    r"|[A-Za-z]:\\\S+"
    r"|\w+(?:[._]\w+)+(?:\(\))?|\w+\(\)"  # dotted_or_underlined names, calls
    r"|\b[a-z]+[A-Z]\w*|[A-Za-z](?:\+\+|#)(?!\w)"  # camelCase, C++
    r"|[=!<>]=+|(?<=\s)[<>](?=\s)"  # comparisons
    r"|\b[A-Z]+-?\d[\w-]*"  # E404, PS-5
    r"|\S+@\S+\w|(?<!\w)[@#]\w+"
)
_QUOTED = re.compile(r"[\"“”]([^\"“”]{1,200})[\"“”]|(?<!\w)['‘]([^'‘’]{2,200})['’](?!\w)")


@dataclass(frozen=True, slots=True)
class Reading:
    """What guards need to know of one prompt.

    Attributes:
        words: lower case, contractions undone, numbers in digits.
        spelled: the same words with their capitals.
        vocabulary: the words, each once.
        names: words with a capital that no sentence begins with.
        numbers: all numbers, ascending as text.
        literals: code, options, paths, identifiers and quoted text, as they stand.
        negations: how many words negate; a question such as "isn't it" does not.
        flat: the prompt in lower case.
    """

    words: tuple[str, ...]
    spelled: tuple[str, ...]
    vocabulary: frozenset[str]
    names: frozenset[str]
    numbers: tuple[str, ...]
    literals: frozenset[str]
    negations: int
    flat: str


@lru_cache(KEPT_READINGS)
def read(prompt: str) -> Reading:
    """Return what guards need to know of a prompt; that of a stored one is kept for the next time."""
    spelled: list[str] = []
    begins: list[bool] = []
    for word, fresh in _words(_in_one_spelling(prompt)):
        spelled.append(word)
        begins.append(fresh)
    words = tuple(_NUMBER_WORDS.get(word.lower(), _SIGNS.get(word, word.lower())) for word in spelled)
    capitals = [word[0].isupper() for word in spelled]
    shouted = sum(capitals) > 0.6 * len(capitals) and len(capitals) > 3
    return Reading(
        words=words,
        spelled=tuple(spelled),
        vocabulary=frozenset(words),
        names=frozenset(
            lower
            for lower, word, capital, fresh in zip(words, spelled, capitals, begins, strict=True)
            if capital and not shouted and lower != "i" and (not fresh or (word.isupper() and len(word) > 1))
        ),
        numbers=tuple(sorted(word for word in words if word[0].isdigit())),
        literals=frozenset(_literals(prompt)),
        negations=sum(
            word in NEGATORS and not (word == "not" and _asks(words, begins, at)) for at, word in enumerate(words)
        ),
        flat=prompt.lower(),
    )


def _in_one_spelling(prompt: str) -> str:
    for pattern, replacement in _CONTRACTIONS:
        prompt = pattern.sub(replacement, prompt)
    prompt = _MERIDIEM.sub(_on_the_clock, prompt)
    prompt = _TIMES_THOUSAND.sub(r"\g<1>000", _THOUSANDS.sub("", prompt))
    return _ORDINAL.sub(r"\1", prompt)


def _on_the_clock(found: re.Match[str]) -> str:
    hour = int(found[1]) % 12 + (12 if found[3].lower() == "p" else 0)
    return f"{hour}:{found[2] or '00'}"


def _words(prompt: str) -> Iterator[tuple[str, bool]]:
    """Yield each word, and whether it begins a sentence."""
    end, fresh = 0, True
    for found in _WORD.finditer(prompt):
        fresh = fresh or _SENTENCE_END.search(prompt, end, found.start()) is not None
        word = found.group()
        parts = word.split("-")
        # "seven-day" is "7 day"; "sign-in" stays one word.
        if len(parts) > 1 and any(part.lower() in _NUMBER_WORDS for part in parts):
            for part in parts:
                yield part, fresh
                fresh = False
        else:
            yield _number(word) if word[0].isdigit() else word, fresh
        end, fresh = found.end(), False


def _number(text: str) -> str:
    return text.rstrip("0").rstrip(".") if re.fullmatch(r"\d+\.\d*0+", text) else text


def _asks(words: tuple[str, ...], begins: list[bool], at: int) -> bool:
    """Tell whether the negation at this place only makes a question politer: "isn't it ...?"."""
    return at > 0 and words[at - 1] in _AUXILIARIES and begins[at - 1]


def _literals(prompt: str) -> Iterator[str]:
    yield from (found.strip("`") for found in _LITERALS.findall(prompt))
    for double, single in _QUOTED.findall(prompt):
        yield (double or single).strip().rstrip(".,!?")
