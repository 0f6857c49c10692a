"""A prompt parsed for the guards: its words in one spelling, numbers, names, negations and literals."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from recallm.concurrency.memo import Memo
from recallm.guards.courtesies import without_courtesies
from recallm.guards.language import Language, language_of
from recallm.guards.literals import ABBREVIATION, QUOTES, literals_of
from recallm.guards.numerals import COMPOUNDS, NUMBER, NUMBER_WORDS, SPELLED_OUT, in_digits, is_number, plain
from recallm.guards.patterns import compiled
from recallm.guards.phrases import phrases_in
from recallm.guards.wording import Wording, wording_of

MAX_CHARS = 8000
"""The longest prompt that the guards judge, in characters: up to seventeen are parsed for one call, each of which takes
some milliseconds."""

_PARSED: Memo[str, ParsedPrompt] = Memo(limit_bytes=5 * 2**20)
"""The prompts that were parsed last: the same stored prompts are met often."""

NEGATORS = frozenset(
    "not no never without none nobody nothing nowhere neither nor unable fail fails failed failing impossible unless "
    "hardly except".split()
)

_AUXILIARIES = frozenset("is are was were do does did can could would will shall should has have had".split())

_BE = frozenset("is are was were".split())
_SUBJECTS = frozenset(
    "i you we they he she it there this that these those one anyone anybody someone somebody everyone everybody people "
    "a an the my your our their his her its some any all most many".split()
)

_SIGNS = {"$": "dollar", "€": "euro", "£": "pound", "¥": "yen", "%": "percent", "°": "degree", "&": "and", "₹": "rupee"}
_SPELLINGS = NUMBER_WORDS | SPELLED_OUT | _SIGNS

# Patterns are compiled on first use: to compile them takes longer than all else that importing the guards does.
_CONTRACTIONS = (
    (("can",), r"(?i)\b(?:can['’]?t|cannot)\b", "can not"),
    (("no matter",), r"(?i)\bno matter\b", "whatever"),
    (("won",), r"(?i)\bwon['’]?t\b", "will not"),
    (("i'm", "i’m"), r"(?i)\bi['’]m\b", "I am"),
    (("ain",), r"(?i)\bain['’]?t\b", "is not"),
    (
        ("nt", "n't", "n’t"),
        r"(?i)\b(is|are|was|were|do|does|did|could|would|should|has|have|had|must|need)n['’]?t\b",
        r"\1 not",
    ),
    (
        ("'s", "’s", "ats", "hos", "eres", "ows"),
        r"(?i)\b(it|let|when|why)['’]s\b|\b(that|what|who|where|how|there|here)['’]?s\b",
        r"\1\2 is",
    ),
    (("'", "’"), r"(?i)['’](?:re|ve|ll|d|m|s)?(?!\w)", " "),
)
"""Patterns, what takes their place, and texts of which a prompt has one if the pattern is in it."""

_WORD = rf"[^\W\d_]+(?:-[^\W\d_]+)*(?:\+\+|#)?|[$€£¥%°&₹]|{NUMBER}"
_ENDING = frozenset('.?!:;\n"“”([*')
"""Signs between two words of which the second one begins a sentence, a quotation or an item of a list."""


class Number(NamedTuple):
    """A number of a prompt in plain digits, and which of the words it is."""

    text: str
    place: int


class ParsedPrompt(NamedTuple):
    """What the guards need to know of one prompt.

    Attributes:
        words: all words in their order, in lower case, contractions expanded, numbers in digits, courtesies left out,
            phrases of the lists as one word.
        original: the same words with their capitals, and number words as they are; as many as `words`.
        wording: what is read of `words` alone.
        names: those of `words` that have a capital and begin no sentence; none if most words have one.
        numbers: all numbers in their order.
        literals: code, options, paths, identifiers and quoted text, unchanged.
        negations: how many words negate; the "not" of a question such as "isn't it ...?" does not count.
        asks_for: the forms, manners and times of the lists that it asks for: "as-json", "this-week".
        flat: the prompt in lower case, otherwise unchanged.
        language: the language that it is in.
    """

    words: tuple[str, ...]
    original: tuple[str, ...]
    wording: Wording
    names: frozenset[str]
    numbers: tuple[Number, ...]
    literals: frozenset[str]
    negations: int
    asks_for: frozenset[str]
    flat: str
    language: Language

    @property
    def vocabulary(self) -> frozenset[str]:
        """Each of `words` once."""
        return self.wording.vocabulary

    def with_words(self, words: tuple[str, ...], original: tuple[str, ...]) -> ParsedPrompt:
        """Return the prompt with other words, of which is read what there is to read."""
        return self._replace(words=words, original=original, wording=wording_of(words))


def parse(prompt: str) -> ParsedPrompt:
    """Return a prompt parsed, in time linear in its length; the prompts parsed last are kept.

    >>> parse("Isn't it $1.5k, or twenty-one?").words
    ('is', 'not', 'it', 'dollar', '1500', 'or', '21')
    >>> parse("Does `len` count as Python does?").names
    frozenset({'python'})
    """
    parsed = _PARSED.get(prompt)
    if parsed is None:
        parsed = _parsed(prompt)
        _PARSED.put(
            prompt, parsed, _BYTES_PER_PROMPT + _BYTES_PER_CHAR * len(prompt) + _BYTES_PER_WORD * len(parsed.words)
        )
    return parsed


_BYTES_PER_PROMPT, _BYTES_PER_CHAR, _BYTES_PER_WORD = 1500, 4, 200
"""What a parsed prompt takes in memory, as measured."""


def _parsed(prompt: str) -> ParsedPrompt:
    original: list[str] = []
    begins: list[bool] = []
    for word, fresh in _words(_in_one_spelling(prompt)):
        original.append(word)
        begins.append(fresh)
    lowered: Iterable[str] = map(str.lower, original)
    if "US" in original and not prompt.isupper():
        lowered = ["usa" if word == "US" else word.lower() for word in original]
    words = tuple([_SPELLINGS.get(word, word) for word in lowered])
    flat = prompt.lower()
    literals = frozenset(literals_of(prompt))
    language = language_of(words, flat, () if QUOTES.isdisjoint(prompt) else map(str.lower, literals))
    asks_for: frozenset[str] = frozenset()
    if language.code == "en":
        words, asks_for = _with_phrases_joined(words, original, begins)
    return ParsedPrompt(
        words=words,
        original=tuple(original),
        wording=wording_of(words),
        names=frozenset(_names(words, original, begins)),
        numbers=tuple(_numbers(words, original)),
        literals=literals,
        negations=0 if NEGATORS.isdisjoint(words) else _negations(words, begins),
        asks_for=asks_for,
        flat=flat,
        language=language,
    )


def _with_phrases_joined(
    words: tuple[str, ...], original: list[str], begins: list[bool]
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the words with phrases as one word, and what those ask for; the lists are shortened likewise."""
    phrases = phrases_in(words)
    if not phrases:
        return words, frozenset()
    joined = list(words)
    for at, end, phrase in reversed(phrases):
        stretch = slice(at, end)
        word = phrase.word.capitalize() if original[at][0].isupper() else phrase.word
        joined[stretch] = [phrase.word] if word else []
        original[stretch] = [word] if word else []
        begins[stretch] = [begins[at]] if word else []
    return tuple(joined), frozenset(phrase.asks_for for _, _, phrase in phrases if phrase.asks_for)


def _numbers(words: Sequence[str], original: Sequence[str]) -> Iterator[Number]:
    """Yield the numbers among the words; "1st" and "2nd" are numbers though their words have other meanings."""
    for place, word in enumerate(words):
        if not word[0].isalpha() and is_number(word):
            yield Number(word, place)
        elif original[place] in SPELLED_OUT:
            yield Number(original[place], place)


def _names(words: Sequence[str], original: Sequence[str], begins: Sequence[bool]) -> Iterator[str]:
    """Yield the words with a capital that is no mere beginning of a sentence."""
    capitals = [at for at, word in enumerate(original) if word[0].isupper()]
    # Capitals in most of the words of a prompt are emphasis or a headline: they mark no names.
    if len(capitals) > 0.6 * len(original) and len(original) > 3:
        return
    for at in capitals:
        word = original[at]
        if words[at] != "i" and (not begins[at] or (word.isupper() and len(word) > 1)):
            yield words[at]


def _in_one_spelling(prompt: str) -> str:
    """Return a prompt with contractions expanded, courtesies dropped, and times and amounts in plain digits.

    To look for a text is far faster than to look for a pattern, and most prompts have few of them.
    """
    folded = prompt.casefold()
    for texts, pattern, replacement in _CONTRACTIONS:
        if any(map(folded.__contains__, texts)):
            prompt = compiled(pattern).sub(replacement, prompt)
    prompt = without_courtesies(prompt)
    if "." in prompt:
        prompt = compiled(ABBREVIATION).sub(lambda found: found[0].replace(".", ""), prompt)
    return in_digits(prompt, folded)


def _words(prompt: str) -> Iterator[tuple[str, bool]]:
    """Yield each word, and whether it begins a sentence."""
    end, fresh = 0, True
    for found in compiled(_WORD).finditer(prompt):
        word = found[0]
        start = found.start()
        if not fresh and start - end != 1:
            fresh = _ends_sentence(prompt[end:start])
        elif not fresh:
            fresh = prompt[end] in _ENDING
        if word[0].isalpha():
            if "-" in word:
                yield from _hyphened(word, fresh)
            else:
                yield word, fresh
        else:
            yield plain(word) if is_number(word) or word[0] in "-." else word, fresh
        end, fresh = found.end(), False


def _hyphened(word: str, fresh: bool) -> Iterator[tuple[str, bool]]:
    parts = word.split("-")
    if word.lower() in COMPOUNDS:
        yield COMPOUNDS[word.lower()], fresh
    # "seven-day" is "7 day"; "sign-in" stays one word.
    elif any(part.lower() in NUMBER_WORDS for part in parts):
        for at, part in enumerate(parts):
            yield part, fresh and not at
    else:
        yield word, fresh


def _ends_sentence(between: str) -> bool:
    """Return whether what lies between two words ends a sentence, or opens a quotation or a list."""
    seen = between.rstrip()
    return seen[-1:] in _ENDING or "\n" in between[len(seen) :]


def _negations(words: tuple[str, ...], begins: list[bool]) -> int:
    return sum(word in NEGATORS and not (word == "not" and _asks(words, begins, at)) for at, word in enumerate(words))


def _asks(words: tuple[str, ...], begins: list[bool], at: int) -> bool:
    """Return whether the "not" at this place belongs to a question that begins with its verb: "isn't it ...?".

    Its subject follows; "can't log in" is no question, but a statement that has none.
    """
    if at == 0 or words[at - 1] not in _AUXILIARIES or not begins[at - 1]:
        return False
    return words[at - 1] in _BE or not _SUBJECTS.isdisjoint(words[at + 1 : at + 2])


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
