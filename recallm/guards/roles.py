"""Roles: who does what to whom, and what comes from where, before what or by whom, in two prompts of the same words.

Two prompts that share their words differ in their order, and most orders mean the same: a clause or a phrase may move
to the front. What must not change is what a verb or a preposition has on its sides. So each prompt is read as the
words behind its prepositions and the words on both sides of its verbs, those of the passive voice the other way round.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from recallm.guards.grammar import BEFORE_INFINITIVES
from recallm.guards.order import MOST_WORDS, MUTUAL, PREPOSITIONS, PRONOUNS
from recallm.guards.prompt import ParsedPrompt
from recallm.guards.word_lists import request_words
from recallm.guards.words import equivalents, is_role_verb

_LONGEST_PART = 4
"""Most words on one side of a verb or behind a preposition that take its role."""

_MOST_EXCHANGED = 8
"""Most words of a prompt that the other may have in another form."""

_DETERMINERS = frozenset("a an the my your his her its our their this these those please".split())
_BE = frozenset("am is are was were be been being get gets got getting".split())
_HELPING = frozenset("do does did have has had will would can could may might shall should must".split())
_AUXILIARIES = _BE | _HELPING | frozenset("having not never ever".split())
_ASKING = frozenset("who whom what which".split())
_RELATIVE = _ASKING | {"that"}
_TELLING_WHEN = frozenset("because if when while unless until".split())
_CLAUSES = _TELLING_WHEN | frozenset("since where why how whether although though so but as".split())
_JOINING = frozenset("and or vs versus plus".split())
_SEQUENCING = _TELLING_WHEN | frozenset("before after then afterwards".split())
_PLACING = PREPOSITIONS | _SEQUENCING | {"first"}
"""Words that say where, whence, when or how stands what is behind them; "first" also what is before it."""

_LOOSE = frozenset("of in on at for with by about over".split())
"""Prepositions that may replace each other: "the best of", "the best in"."""

_NEW_CLAUSE = _CLAUSES | _RELATIVE | _AUXILIARIES
_BORDERS = _NEW_CLAUSE | _PLACING
_FUNCTION_WORDS = _BORDERS | _JOINING | _DETERMINERS
_FORMAL = _AUXILIARIES | _DETERMINERS | _ASKING
"""Words whose place says nothing of who does what."""

_BEFORE_NOUNS = (_DETERMINERS | PREPOSITIONS) - {"this", "these", "those", "please", "to", "then"}
_NO_VERBS = _FUNCTION_WORDS | PRONOUNS.keys() | MUTUAL | {"marry", "meet", "differ", "equal", "resemble"}
_STANDING_IN = frozenset("it he she they".split())
"""Words for somebody whom the other prompt may name in that place."""

_NONE: frozenset[str] = frozenset()

Part = Sequence[str]
"""Words that take one role, the nearest first."""


class Sides(NamedTuple):
    """Who does and to whom it is done, whichever the prompt names first."""

    doer: frozenset[str]
    done_to: frozenset[str]


def have_changed_roles(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether two prompts of the same words have other words on the sides of a verb or behind a preposition.

    >>> from recallm.guards.prompt import parse
    >>> have_changed_roles(parse("My boss has sued me. What now?"), parse("I have sued my boss. What now?"))
    True
    >>> have_changed_roles(parse("Did Ann hire Bob?"), parse("Was Bob hired by Ann?"))
    False
    """
    if max(len(one.words), len(other.words)) > MOST_WORDS:
        return False
    forms = _forms_of_shared_words(one, other)
    if forms is None:
        return False
    ours, theirs = _read(one, {}), _read(other, forms)
    if _keep_their_order(ours, theirs):
        return False
    return _prepositions_differ(ours, theirs) or _verbs_differ(ours, theirs)


def _forms_of_shared_words(one: ParsedPrompt, other: ParsedPrompt) -> Mapping[str, str] | None:
    """Return the words of the second that the first has in another form, with that form.

    Returns None if there are words, other than those that frame a request, that only one of the prompts has.
    """
    ours = one.vocabulary - other.vocabulary - _FUNCTION_WORDS
    theirs = other.vocabulary - one.vocabulary - _FUNCTION_WORDS
    ignored = request_words() | PRONOUNS.keys()
    lacking = (ours - ignored, theirs - ignored)
    if max(map(len, lacking)) > _MOST_EXCHANGED:
        return None
    forms = equivalents(sorted(theirs), sorted(ours))
    if lacking[1] - forms.keys() or lacking[0].difference(forms.values()):
        return None
    return forms


def _read(parsed: ParsedPrompt, forms: Mapping[str, str]) -> list[str]:
    """Return the words of a prompt, pronouns in one form, and letters that name something in capitals."""
    words = [PRONOUNS.get(word) or forms.get(word, word) for word in parsed.words]
    last = len(words) - 1
    for place, word in enumerate(parsed.words):
        if word == "her" and (place == last or words[place + 1] in _FUNCTION_WORDS):
            words[place] = "she"
        elif word == "a" and (
            place == last or words[place + 1] in _FUNCTION_WORDS or (place and parsed.original[place] == "A")
        ):
            words[place] = "A"
    return words


def _keep_their_order(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether the words that two prompts share are in one order, and in one voice."""
    if ("by" in one) != ("by" in other):
        return False
    shared = set(one).intersection(other) - _FORMAL
    return [word for word in one if word in shared] == [word for word in other if word in shared]


def _prepositions_differ(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether what stands behind a preposition has changed places with what does not."""
    ours, theirs = _behind(one), _behind(other)
    everywhere, loose = set(one).intersection(other), _replaced(one, other)
    for place in ours.keys() & theirs.keys():
        heads = {_head(ours[place]), _head(theirs[place])}
        if not heads <= everywhere - _STANDING_IN or not heads.isdisjoint(set(ours[place]).intersection(theirs[place])):
            continue
        if place.split()[-1] not in loose and not _may_turn(place, one):
            return True
    return all(place in ours and place in theirs for place in ("from", "to")) and (
        _is_moved(ours, theirs) or _is_moved(theirs, ours)
    )


def _replaced(one: Sequence[str], other: Sequence[str]) -> frozenset[str]:
    """Return the prepositions and conjunctions that tell nothing, as the prompts have others of them."""
    alone = set(one).symmetric_difference(other)
    prepositions = _NONE if alone.isdisjoint(PREPOSITIONS) else _LOOSE
    return prepositions if alone.isdisjoint(_CLAUSES) else prepositions | _TELLING_WHEN


def _head(part: Part) -> str:
    """Return the first word that is no pronoun, if there is any: "before I bake"."""
    return next((word for word in part if word not in PRONOUNS and word != "it"), part[0])


def _may_turn(place: str, words: Sequence[str]) -> bool:
    """Return whether what stands before and behind a preposition may change places: "compare tea with coffee"."""
    return place in ("with", "to") and not MUTUAL.isdisjoint(words)


def _is_moved(one: Mapping[str, Part], other: Mapping[str, Part]) -> bool:
    """Return whether a word stands behind "from" in one prompt and behind "to" in the other."""
    start, end = set(one["from"]).difference(one["to"]), set(other["to"]).difference(other["from"])
    return not start.isdisjoint(end)


def _behind(words: Sequence[str]) -> dict[str, Part]:
    """Return what stands behind each preposition; those that occur more than once, together with what is before."""
    found: dict[str, Part] = {}
    places = [place for place, word in enumerate(words) if word in _PLACING]
    counts = Counter([words[place] for place in places])
    for place in places:
        word, before = words[place], words[place - 1] if place else ""
        if before in _JOINING and word != "first" and counts[word] > 1:
            continue
        if (word == "first" and before in _DETERMINERS) or (word == "to" and _is_infinitive(words, place)):
            continue
        part = tuple(_to_the_right(words, place))
        if word == "first":
            part = tuple(_to_the_left(words, place)) or part
        key = word if counts[word] == 1 else f"{before} {word}"
        found[key] = () if key in found else part
    return {key: part for key, part in found.items() if part}


def _is_infinitive(words: Sequence[str], place: int) -> bool:
    """Return whether the "to" at a place names no direction: "how to", "to sum up"."""
    if not place:
        return _ASKING.isdisjoint(words[1:2])
    return words[place - 1] in BEFORE_INFINITIVES


def _to_the_right(words: Sequence[str], place: int) -> Iterator[str]:
    """Yield the words behind a place that belong together."""
    size = 0
    for at, word in enumerate(words[place + 1 :], place + 1):
        before = words[at - 1]
        if word in _DETERMINERS or word in _JOINING or (before in _JOINING and word == words[place]):
            continue
        # "to whom", "before I am done"
        if (word in _ASKING and at == place + 1) or (
            words[place] in _SEQUENCING and before in PRONOUNS and word in _AUXILIARIES
        ):
            continue
        if word in _BORDERS:
            return
        yield word
        size += 1
        if size == _LONGEST_PART:
            return


def _to_the_left(words: Sequence[str], place: int) -> Iterator[str]:
    """Yield the words in front of a place that belong together, from the nearest on."""
    size = 0
    for at in range(place - 1, -1, -1):
        word = words[at]
        if word in _AUXILIARIES or word == "to" or word in _RELATIVE:
            if size:
                return
            if word in _ASKING and not at:
                yield "who"
                return
        elif word in _DETERMINERS:
            if size and (not at or words[at - 1] not in _JOINING | _LOOSE):
                return
        elif word in _CLAUSES or (word in _PLACING and word not in _LOOSE):
            return
        elif word not in _JOINING and word not in _LOOSE:
            yield word
            size += 1
            if size == _LONGEST_PART or word in PRONOUNS:
                return


def _verbs_differ(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether two have changed places around a verb, or each does what the other did."""
    moved: tuple[list[tuple[frozenset[str], frozenset[str]]], ...] = ([], [])
    for place, there in _shared_verbs(one, other):
        a, b = _sides(one, place), _sides(other, there)
        if _crossed(a, b):
            return True
        for at, role in enumerate(zip(a, b, strict=True)):
            if role[0] != role[1]:
                moved[at].append((role[0] - role[1] - _STANDING_IN, role[1] - role[0] - _STANDING_IN))
    return any(not (a.isdisjoint(d) or b.isdisjoint(c)) for role in moved for (a, b), (c, d) in combinations(role, 2))


def _shared_verbs(one: Sequence[str], other: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the places of each verb that both prompts have once."""
    in_sentences = not (request_words().isdisjoint(one) or request_words().isdisjoint(other))
    ours, theirs = Counter(one), Counter(other)
    for place, word in enumerate(one):
        if word in _NO_VERBS or not ours[word] == theirs[word] == 1:
            continue
        there = other.index(word)
        if not (is_role_verb(word) or (in_sentences and (_is_verb(one, place) or _is_verb(other, there)))):
            continue
        if not (_is_noun(one, place) or _is_noun(other, there)):
            yield place, there


def _crossed(one: Sides, other: Sides) -> bool:
    """Return whether a word that does in one has it done to it in the other, and another one the other way round."""
    doers, others_done_to = one.doer - one.done_to, other.done_to - other.doer
    done_to, other_doers = one.done_to - one.doer, other.doer - other.done_to
    return not (doers.isdisjoint(others_done_to) or done_to.isdisjoint(other_doers))


def _is_noun(words: Sequence[str], place: int) -> bool:
    """Return whether a word stands where nouns do: behind "the" or "of", or as a form in "ing" without "is"."""
    if words[place].endswith("ing"):
        return _BE.isdisjoint(words[max(0, place - _LONGEST_PART) : place])
    return place > 0 and words[place - 1] in _BEFORE_NOUNS


def _is_verb(words: Sequence[str], place: int) -> bool:
    """Return whether a word stands where verbs do: behind a pronoun, an auxiliary or "to", or before a determiner."""
    before = words[place - 1] if place else ""
    after = words[place + 1] if place + 1 < len(words) else ""
    return before in PRONOUNS or before in _AUXILIARIES or before == "to" or after in PRONOUNS or after in _DETERMINERS


def _sides(words: Sequence[str], place: int) -> Sides:
    """Return who does what a verb says, and to whom."""
    left, right = frozenset(_to_the_left(words, place)), frozenset(_to_the_right(words, place))
    passive = _agent(words, place)
    if passive is not None:
        return Sides(passive, left)
    return Sides(left, right | _fronted(words, place))


def _fronted(words: Sequence[str], place: int) -> frozenset[str]:
    """Return to whom it is done in a question that asks for it: "which teams has Ann beaten"."""
    if words[0] not in _ASKING and words[1] not in ("many", "much"):
        return _NONE
    auxiliary = next((at for at in range(1, min(place - 1, _LONGEST_PART + 1)) if words[at] in _HELPING), None)
    if auxiliary is None:
        return _NONE
    return frozenset(words[1:auxiliary]) or frozenset(["who"])


def _agent(words: Sequence[str], place: int) -> frozenset[str] | None:
    """Return who does it if a verb is in the passive voice, or None."""
    if "by" not in words or words[place].endswith("ing"):
        return None
    if _BE.isdisjoint(words[max(0, place - 2) : place]) and not words[place].endswith(("ed", "en")):
        return None
    for at in range(place + 1, min(place + 6, len(words))):
        if words[at] == "by":
            return frozenset(_to_the_right(words, at))
        if words[at] in _NEW_CLAUSE:
            break
    return None
