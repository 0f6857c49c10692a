"""Answers: what two answers to one prompt say that cannot both be right, whatever else they have in common.

Prompts and answers differ in what a difference means. A prompt that says more asks for something else; an answer that
says more is the longer answer to the same. So an answer is only contradicted by what it has in the place of something
else: each has a number, a name or a literal that the other lacks, one says yes and the other no, one refuses.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import SequenceMatcher
from enum import Enum, auto
from typing import Any

from recallm.guards.default import direction_agrees
from recallm.guards.evidence import Difference, Evidence, compare
from recallm.guards.foreign import are_foreign, compare_foreign
from recallm.guards.literals import has_literals
from recallm.guards.numerals import is_number
from recallm.guards.patterns import compiled
from recallm.guards.prompt import MAX_CHARS, NEGATORS, ParsedPrompt, parse
from recallm.guards.quantities import in_the_same_units
from recallm.guards.word_lists import function_words
from recallm.guards.words import equivalents, is_common, opposed

NEAR = 0.8
"""The share of words in common from which two answers are one text with a few words exchanged."""

HEAVY = 1.0
"""The log-odds from which what differs speaks against two answers, as it would against prompts (`evidence`)."""

MOST_TELLING = 6
"""A short answer with at most so many words that tell something agrees with every longer one that has them all."""

BEGINNING = 200
"""Where a refusal stands: in the first characters of an answer."""

HARMLESS = frozenset({
    Evidence.RESTRICTION, Evidence.PHRASE, Evidence.PERSON, Evidence.A_NAME, Evidence.SMALL_EXCHANGE,
    Evidence.SPECIAL_INSERTION, Evidence.COMMON_INSERTION, Evidence.SPECIAL_ADDITION, Evidence.COMMON_ADDITION,
})  # fmt: skip
"""What a longer answer has and a shorter one has not."""

_FENCE = r"```[\w+-]*\n?"
_LIST_MARK = r"(?m)^\s*(?:[-•*]|\d+[.)])\s+"
_MARKS = r"[*_`#>]+"
_LEAD = r"\W*(yes|no|ja|nein|oui|non|sí|si)\b"
_NO = frozenset("no nein non".split())
_REFUSAL = (
    r"\b(?:can ?not|can't|unable to|not able to|don't have|do not have) (?:access|advise|answer|assist|comment|discuss|"
    r"enough|give|help|information|look|offer|provide|see|share|tell|the)\b"
)
_QUALIFYING = NEGATORS | frozenset("only but".split())
_SHORTEST_WORD = 4
"""Shorter words have no other forms: "Tim" is not "Tom"."""


class Verdict(Enum):
    """What the facts of two answers tell: that they say the same, that they contradict each other, or neither."""

    SAME = auto()
    DIFFERENT = auto()
    OPEN = auto()


def compare_answers(prompt: str, one: str, other: str) -> Verdict:
    """Return what the facts of two answers to one prompt tell; of long ones the first `MAX_CHARS` characters are read.

    >>> compare_answers("How long?", "Within 30 days.", "You have 30 days to return it.").name
    'SAME'
    >>> compare_answers("How long?", "Within 30 days.", "Within 14 days.").name
    'DIFFERENT'
    >>> compare_answers("How long?", "As long as you like.", "There is no deadline.").name
    'OPEN'
    """
    one, other = one[:MAX_CHARS], other[:MAX_CHARS]
    if normalised(one) == normalised(other):
        return Verdict.SAME
    data = [_data(answer) for answer in (one, other)]
    if None not in data:
        return Verdict.SAME if data[0] == data[1] else Verdict.DIFFERENT
    texts = without_markup(one), without_markup(other)
    if _refuses(one) != _refuses(other) or _say_yes_and_no(*texts) or _contradict(prompt, *texts):
        return Verdict.DIFFERENT
    return Verdict.SAME if _says_no_more(prompt, *texts) else Verdict.OPEN


def without_markup(text: str) -> str:
    """Return a text without the marks of lists and blocks of code; what is code in it stays marked as such."""
    return compiled(_LIST_MARK).sub("", compiled(_FENCE).sub("", text)).strip()


def normalised(text: str) -> str:
    """Return a text without any markup, in lower case, with single spaces.

    >>> normalised("**Yes**, it  is.") == normalised("yes, it is")
    True
    """
    bare = compiled(_MARKS).sub("", without_markup(text))
    return " ".join(bare.casefold().split()).strip(" .!\"'“”„«»")


def _data(text: str) -> Any:
    """Return what a text is in JSON if that is an object or a list, else None."""
    bare = compiled(_FENCE).sub("", text).strip()
    if bare[:1] not in {"{", "["}:
        return None
    try:
        return json.loads(bare)
    except (ValueError, RecursionError):
        return None


def has_negation(text: str) -> bool:
    """Return whether a text negates anything."""
    return not NEGATORS.isdisjoint(parse(text).vocabulary)


def _refuses(text: str) -> bool:
    beginning = text[:BEGINNING].casefold().replace("\u2019", "'")
    return compiled(_REFUSAL).search(beginning) is not None


def _say_yes_and_no(one: str, other: str) -> bool:
    return {"yes", "no"} == {_lead(one), _lead(other)}


def _lead(text: str) -> str:
    """Return "yes" or "no" if a text begins with that, in one of a few languages, else ""."""
    found = compiled(_LEAD).match(text[:BEGINNING].casefold())
    return "" if found is None else "no" if found[1] in _NO else "yes"


def _contradict(prompt: str, one: str, other: str) -> bool:
    a, b = in_the_same_units(parse(one), parse(other))
    return (
        _have_other_numbers(parse(prompt), a, b)
        or not (has_literals(other, a.literals - b.literals) or has_literals(one, b.literals - a.literals))
        or _have_other_names(a, b)
        or _have_other_words(a, b)
        or _is_heavy(one, other)
        or (a.vocabulary == b.vocabulary and not direction_agrees(one, other))
    )


def _have_other_numbers(asked: ParsedPrompt, one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether each answer has a number that neither the other nor the prompt has."""
    ours, theirs = (_values(each) - _values(asked) for each in (one, other))
    return bool(ours - theirs) and bool(theirs - ours)


def _values(parsed: ParsedPrompt) -> set[str]:
    """Return the numbers among a text's words, which may have been put in the units of the other text since."""
    return {_value(word) for word in parsed.words if is_number(word)}


def _value(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


def _have_other_names(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether each answer has a name that the other lacks; in German every noun has a capital."""
    if "de" in {one.language.code, other.language.code}:
        return False
    return bool(one.names - other.vocabulary) and bool(other.names - one.vocabulary)


def _have_other_words(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether an opposite, a "not" or another word stands in the place of what the other answer has."""
    turned = opposed(one.vocabulary - other.vocabulary, other.vocabulary - one.vocabulary)
    exchanges = SequenceMatcher(None, one.words, other.words, autojunk=False)
    if exchanges.ratio() < NEAR:
        negations = [NEGATORS.isdisjoint(each.vocabulary) for each in (one, other)]
        return negations[0] == negations[1] and any(not (is_common(a) or is_common(b)) for a, b in turned)
    if turned:
        return True
    framing = _framing(one)
    for _, start, end, from_, to in exchanges.get_opcodes():
        ours, theirs = one.words[start:end], other.words[from_:to]
        if not (NEGATORS.isdisjoint(ours) == NEGATORS.isdisjoint(theirs) and _mean_the_same(ours, theirs, framing)):
            return True
    return False


def _mean_the_same(ours: Sequence[str], theirs: Sequence[str], framing: frozenset[str]) -> bool:
    """Return whether one of these stretches of words has nothing telling that the other does not explain."""
    a, b = ([word for word in words if word not in framing] for words in (ours, theirs))
    return not (a and b) or len(equivalents(a, b)) == len(set(a)) or len(equivalents(b, a)) == len(set(b))


def _framing(parsed: ParsedPrompt) -> frozenset[str]:
    """Return the words of a text's language that tell nothing by themselves: "the", "is", "of"."""
    return function_words().get(parsed.language.code, frozenset())


def _is_heavy(one: str, other: str) -> bool:
    found = _difference(one, other)
    return found.weight > HEAVY and not found.evidence <= HARMLESS


def _difference(one: str, other: str) -> Difference:
    foreign = are_foreign(parse(one), parse(other))
    return compare_foreign(one, other) if foreign else compare(one, other)


def _says_no_more(prompt: str, one: str, other: str) -> bool:
    """Return whether the shorter answer is short, and all that it tells is in the longer one."""
    shorter, longer = sorted((parse(one), parse(other)), key=lambda each: len(each.words))
    if shorter.vocabulary & _QUALIFYING != longer.vocabulary & _QUALIFYING:
        return False
    telling = shorter.vocabulary - _framing(shorter)
    if not telling:
        return _lead(one) == _lead(other) != ""
    if len(telling) > MOST_TELLING:
        return False
    missing = telling - parse(prompt).vocabulary - longer.vocabulary
    long_enough = [word for word in missing if len(word) >= _SHORTEST_WORD]
    return len(long_enough) == len(missing) and len(equivalents(long_enough, longer.vocabulary)) == len(missing)
