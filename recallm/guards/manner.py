"""What a prompt asks for besides its subject: the form and manner of the answer, and the time that it is about."""

from __future__ import annotations

from collections.abc import Sequence

from recallm.guards.order import trimmed
from recallm.guards.prompt import ParsedPrompt
from recallm.guards.words import equivalents, is_request_word

_PRESENT = frozenset("now today latest current currently present recent last".split())
_RELATIVE = ("this-", "last-", "next-")
_OPENING = frozenset(
    "with without as like in for by under since before after over so using from at within on than only just no until "
    "during through against between about across via while".split()
)
_POSING = frozenset("be act pretend respond keep behave speak talk".split())
_INSTRUCTING = _POSING | frozenset(
    "answer reply explain describe show give provide write make format return output use avoid include add list cite "
    "name mention quote limit summarise summarize translate compare think check prove rate rank sort draw "
    "generate".split()
)
_LINKING = frozenset("and but then also please just or".split())
_ADDING_NOTHING = frozenset(
    "for to with from by in i me my us our you your one people someone anyone here there please help know tell explain "
    "answer reply describe show give find do how why it this that them more some any a an the advice tips help".split()
)
_HOW_OFTEN = frozenset(
    "mostly mainly commonly frequently regularly rarely probably largely especially primarily".split()
)
MOST_APPENDED_WORDS = 8
"""The longest phrase at the start or end of a prompt that counts as the manner of what is asked before or after it."""


def manners_agree(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether two prompts ask for the same forms, manners and times.

    Times of the present stand for each other ("today", "right now", "the latest"). In a prompt that is reworded, too,
    "now" may be left unsaid. A form counts as asked for if its last word is there, if only in another phrase: "JSON" is
    enough for "as JSON".
    """
    if one.asks_for == other.asks_for and not (
        one.vocabulary <= other.vocabulary or other.vocabulary <= one.vocabulary
    ):
        return True
    stretches = trimmed(one.words, other.words)
    left_unsaid = all(stretches)
    if not left_unsaid and any(_is_appended(max(stretches, key=len), parsed) for parsed in (one, other)):
        return False
    if one.asks_for == other.asks_for:
        return True
    return _asks_for_all_of(one, other, left_unsaid) and _asks_for_all_of(other, one, left_unsaid)


def _is_appended(words: Sequence[str], parsed: ParsedPrompt) -> bool:
    """Return whether a prompt begins or ends with these words, and they tell how, for whom or when."""
    if not 1 <= len(words) <= min(MOST_APPENDED_WORDS, len(parsed.words) - 1) or _ADDING_NOTHING.issuperset(words):
        return False
    words = tuple(words)
    is_end = parsed.words[-len(words) :] == words
    if not is_end and parsed.words[: len(words)] != words:
        return False
    first = next((word for word in words if word not in _LINKING), "")
    if words[0] in _OPENING or first in (_INSTRUCTING if is_end else _POSING):
        return True
    return any(_is_adverb(word) for word in words) and len(words) <= 2


def _is_adverb(word: str) -> bool:
    return word.endswith("ly") and len(word) > 4 and not is_request_word(word) and word not in _HOW_OFTEN


def _asks_for_all_of(one: ParsedPrompt, other: ParsedPrompt, left_unsaid: bool) -> bool:
    return all((wanted == "now" and left_unsaid) or _asks_for(one, wanted) for wanted in other.asks_for - one.asks_for)


def _asks_for(parsed: ParsedPrompt, wanted: str) -> bool:
    if wanted in _PRESENT:
        return not _PRESENT.isdisjoint(parsed.vocabulary) or any(word.startswith("this-") for word in parsed.asks_for)
    if wanted.startswith(_RELATIVE):
        return wanted.startswith("this-") and wanted[5:] in parsed.vocabulary
    word = wanted.rpartition("-")[2]
    return word in parsed.vocabulary or bool(equivalents([word], parsed.vocabulary))
