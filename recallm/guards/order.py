"""The order of words: which parts of two prompts have changed places, and what their common start and end enclose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from recallm.guards.numerals import is_number
from recallm.guards.patterns import compiled
from recallm.guards.prompt import NEGATORS, ParsedPrompt
from recallm.guards.words import is_common, is_request_word, is_role_verb

MOST_WORDS = 60
"""Most words that are compared each with each, which takes time in the square of their number.

Longer prompts, and prompts that differ in more words, are judged without that: a veto that rests on it is not given.
"""

DETERMINERS = frozenset("a an the it there my your our his her their please".split())
PRONOUNS = {
    form: forms.split()[0]
    for forms in (
        "i me mine myself",
        "you yours yourself",
        "he him himself",
        "she hers herself",
        "we us ours ourselves",
        "they them theirs themselves",
    )
    for form in forms.split()
}
"""Each pronoun that stands for a person, and its form as a subject."""

PREPOSITIONS = frozenset(
    "from to into onto than before after by in for with without of on at over under against per via minus through "
    "between towards about".split()
)
"""Prepositions behind which something else must not come."""

_SINGULAR = frozenset("is was has does".split())
_JOINING = frozenset("or and vs versus between".split())
MUTUAL = frozenset(
    "compare compared comparing comparison difference differences combine combined combining mix mixed mixing pair "
    "pairing sync syncing synchronise synchronize interact interaction".split()
)
"""Words for what two things do with or to each other, whichever is named first."""

_OPTION = r"(?<!\S)(?:-[A-Za-z]|--[A-Za-z][\w-]+)(?!\S)"
_FILE = r"[\w~./-]*[./]\w+"


def are_exchanged(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether the second prompt is the first with two words in each other's place that frame no request.

    Two words of which each takes the place of the other count however often they occur, and so does a word that takes
    the place of another that both prompts have. Parts joined by "and", "or" or "versus" may change places, and so may
    mere keywords. Numbers by themselves are left to the guard of numbers.

    Args:
        one: the words of one prompt, in lower case.
        other: the words of the other prompt, in lower case.

    >>> are_exchanged("pay ann for bob".split(), "pay bob for ann".split())
    True
    >>> are_exchanged("compare tea and coffee".split(), "compare coffee and tea".split())
    False
    >>> are_exchanged("tea or ale and is tea sweet".split(), "tea or ale and is ale sweet".split())
    True
    """
    if len(one) != len(other):
        return False
    places = [place for place, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    pairs = {(one[place], other[place]) for place in places}
    if len(pairs) == 1:
        ours, theirs = next(iter(pairs))
        return theirs in one and ours in other and not _are_free(ours, theirs)
    if len(pairs) != 2 or pairs != {(b, a) for a, b in pairs} or _are_free(*next(iter(pairs))):
        return False
    between = one[places[0] + 1 : places[1]]
    # "the big red car" is "the red big car", and the order of mere keywords is free, but a guide dog is no dog guide.
    if not between and len(places) == 2:
        return not any(map(is_common, (one[places[0]], other[places[0]]))) and any(map(is_request_word, one))
    if len(places) > 2:
        return True
    # "in May or in June", "real gas and ideal gas".
    before = [word for word in one[: places[0]] if word not in DETERMINERS]
    around = {*before[-1:], *one[places[1] + 1 :][:1]}
    # "I am a parent and a teacher has called"
    if "and" in between and not _SINGULAR.isdisjoint(one[places[1] + 1 :][:1]):
        return True
    return not _are_joined([word for word in between if word not in around], one) and not _are_keywords(one, between)


def _are_free(one: str, other: str) -> bool:
    """Return whether an exchange of two words says nothing, or is for other guards to judge."""
    if one in PRONOUNS and other in PRONOUNS:
        return PRONOUNS[one] == PRONOUNS[other]
    return is_request_word(one) or is_request_word(other) or (is_number(one) and is_number(other))


def _are_joined(between: Sequence[str], words: Sequence[str]) -> bool:
    """Return whether the parts of a prompt that these words lie between may change places."""
    joining = [word for word in between if word not in DETERMINERS]
    return (bool(joining) and _JOINING.issuperset(joining)) or (joining == ["with"] and not MUTUAL.isdisjoint(words))


def _are_keywords(words: Sequence[str], between: Sequence[str]) -> bool:
    """Return whether a prompt is no sentence, and nothing between two of its words relates them."""
    return not any(map(is_request_word, words)) and not any(
        word in PREPOSITIONS or word in NEGATORS or is_role_verb(word) for word in between
    )


def have_turned_names(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether two names beside each other have changed places: "Martin Luther" and "Luther Martin".

    >>> from recallm.guards.prompt import parse
    >>> have_turned_names(parse("Was Martin Luther ever married?"), parse("Did Luther Martin ever marry?"))
    True
    """
    if not one.names or not other.names:
        return False
    ours, theirs = set(_pairs_of_names(one)), set(_pairs_of_names(other))
    return any((b, a) in theirs - ours for a, b in ours - theirs)


def _pairs_of_names(parsed: ParsedPrompt) -> Iterator[tuple[str, str]]:
    """Yield words with capitals beside each other of which one is a name; the other may begin the prompt."""
    for (a, first), (b, second) in pairwise(zip(parsed.words, parsed.original, strict=True)):
        capital = first[0].isupper() and second[0].isupper()
        if capital and (a in parsed.names or b in parsed.names) and not (is_request_word(a) or is_request_word(b)):
            yield a, b


def trimmed(one: Sequence[str], other: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return what is left of both without the beginning and the end that they share.

    >>> trimmed("the red car stops".split(), "the blue car stops".split())
    (['red'], ['blue'])
    """
    most = min(len(one), len(other))
    start = end = 0
    while start < most and one[start] == other[start]:
        start += 1
    while end < most - start and one[-1 - end] == other[-1 - end]:
        end += 1
    return one[start : len(one) - end], other[start : len(other) - end]


def arguments_keep_their_places(one: str, other: str) -> bool:
    """Return whether two prompts do not differ in the order of a command's arguments, or of files named side by side.

    >>> arguments_keep_their_places("What does mv a.txt b.txt do?", "What does mv b.txt a.txt do?")
    False
    >>> arguments_keep_their_places("diff of a.txt and b.txt", "diff of b.txt and a.txt")
    True
    """
    if one == other or len(one) != len(other) or ("." not in one and "/" not in one and "-" not in one):
        return True
    ours, theirs = trimmed(*([word.rstrip("?!.,") for word in prompt.split()] for prompt in (one, other)))
    if not ours or sorted(ours) != sorted(theirs) or not _JOINING.isdisjoint(map(str.lower, ours)):
        return True
    if all(word.startswith("-") for word in ours) or any(":" in word for word in ours):
        return True
    files = sum(compiled(_FILE).fullmatch(word) is not None for word in ours)
    return files < 2 and not (compiled(_OPTION).search(one) and compiled(_OPTION).search(other))
