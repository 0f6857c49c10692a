"""What the grammar of two prompts says: whether they differ in modality, tense or person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from recallm.guards.prompt import ParsedPrompt
from recallm.guards.word_lists import word_forms
from recallm.guards.wording import THIRD_PERSON

_ASKING = frozenset("how what when where which who why".split())
BEFORE_INFINITIVES = frozenset(
    "how way ways want wants need needs like trying try tried able going have has possible steps order love hope wish "
    "used where what when easy hard best safe".split()
)
_MODALITIES = ("must", "need", "should", "can")
_AGREEING = (frozenset(("need", "must")), frozenset(("need", "should")))
_TO_BE = frozenset("be get been".split())
_PRESENT_BE = frozenset("is are am be".split())
_FIRST_OR_SECOND = frozenset("i me my mine myself we us our ours you your yours".split())
_PEOPLE = frozenset(
    "husband wife spouse partner son daughter child children baby kid kids boy girl toddler mother father mom mum dad "
    "parents brother sister friend boyfriend girlfriend grandmother grandfather boss manager colleague employer "
    "employee landlord tenant neighbour neighbor doctor lawyer "
    "teacher student customer client patient man woman guy people "
    "person company shop store bank airline seller buyer police dog cat".split()
)


def modalities(one: ParsedPrompt, other: ParsedPrompt) -> frozenset[str]:
    """Return the two modalities in which the prompts differ: of "must", "need", "should" and "can"; none if they agree.

    What both prompts say is left out, so that no modality of one clause is compared with one of another: "I must work,
    can I ...?" and "I must work, should I ...?" differ in "can" and "should". What one needs to do oneself is what one
    must do and what one should do: "Do I need to see a doctor?", "Should I see a doctor?".
    """
    ours, theirs = one.wording.grammar.modalities, other.wording.grammar.modalities
    if not (ours and theirs) or ours == theirs:
        return frozenset()
    modes = frozenset((_strongest(ours, theirs), _strongest(theirs, ours)))
    return frozenset() if "" in modes or modes in _AGREEING else modes


def _strongest(modalities: Mapping[str, int], others: Mapping[str, int]) -> str:
    """Return the strongest modality that occurs more often than in the other prompt; empty if none does."""
    return next((mode for mode in _MODALITIES if modalities.get(mode, 0) > others.get(mode, 0)), "")


def both_ask_openly(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether both prompts ask more than "yes or no": what one should do is what one can do."""
    return not _ASKING.isdisjoint(one.vocabulary) and not _ASKING.isdisjoint(other.vocabulary)


def is_infinitive(word: str, parsed: ParsedPrompt) -> bool:
    """Return whether a word is "to", and names no direction in a prompt: "how to", "want to"."""
    return word == "to" and all(before in BEFORE_INFINITIVES for before, word in pairwise(parsed.words) if word == "to")


def tenses_differ(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether one prompt is in the past tense and the other in the present or future."""
    ours, theirs = one.wording.grammar, other.wording.grammar
    if not (ours.is_tensed and theirs.is_tensed) or ours.is_past == theirs.is_past:
        return False
    before, after = (one, other) if ours.is_past else (other, one)
    return "been" not in after.vocabulary and not _is_passive_of(before, after)


def _is_passive_of(past: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether a prompt has in the passive voice ("was cancelled") what the other has in the active voice."""
    active = {word for before, word in pairwise(other.words) if before not in _PRESENT_BE}
    return any(before in ("was", "were") and _is_done(word) and word in active for before, word in pairwise(past.words))


def _is_done(word: str) -> bool:
    return word.endswith(("ed", "en")) or word in word_forms()


def one_is_ahead_and_one_done(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether one prompt is about what is to come and the other about what is done."""
    ours, theirs = one.wording.grammar, other.wording.grammar
    if ours.is_ahead == theirs.is_ahead:
        return False
    ahead, done = (one, theirs.done) if ours.is_ahead else (other, ours.done)
    if done <= ahead.vocabulary:
        # What both say tells nothing, unless only one says that it "will be": "will be cancelled", "is cancelled".
        return any(before in _TO_BE and word in done for before, word in pairwise(ahead.words))
    return True


def persons_differ(one: ParsedPrompt, other: ParsedPrompt, only: tuple[Sequence[str], Sequence[str]]) -> bool:
    """Return whether only one prompt is about a third person, whom it does not name as the other one does.

    Args:
        one: a prompt.
        other: the other prompt.
        only: the words that only the first has, or more often, and those of the second.
    """
    if not (one.wording.grammar.has_third_person or other.wording.grammar.has_third_person):
        return False
    ours, theirs = only
    return _has_another_person(one, ours, theirs) or _has_another_person(other, theirs, ours)


def _has_another_person(parsed: ParsedPrompt, ours: Sequence[str], theirs: Sequence[str]) -> bool:
    if THIRD_PERSON.isdisjoint(ours) or not THIRD_PERSON.isdisjoint(theirs):
        return False
    return not _FIRST_OR_SECOND.isdisjoint(theirs) or _PEOPLE.isdisjoint(parsed.vocabulary)
