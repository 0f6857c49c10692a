"""What two conversations must share, besides similar turns, for the answer to one to serve the other.

Embeddings tell what turns are about. Which amount, person or file they are about is told by their numbers, names and
literals, so one conversation must have all of the other's. A last turn that points to a place, as "the second option"
does, is about what stands there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from recallm.guards.literals import are_searchable
from recallm.guards.numerals import is_number
from recallm.guards.prompt import MAX_CHARS, ParsedPrompt, parse
from recallm.guards.words import is_request_word
from recallm.records import Turn

_PLACES = frozenset(
    "first second last former latter next previous "
    "erste ersten erster erstes zweite zweiten zweiter zweites dritte dritten dritter drittes letzte letzten letzter "
    "letztes nächste nächsten nächster nächstes "
    "primero primera primer segundo segunda tercero tercera tercer último última siguiente anterior "
    "premier première deuxième seconde troisième dernier dernière suivant suivante précédent précédente".split()
)
"""Words that point to a place in what was said. So do numbers, as which "third" and others are parsed."""


def histories_agree(history: Sequence[Turn], cached_history: Sequence[Turn]) -> bool:
    """Return whether all numbers, names and literals of one history are in the other.

    Those of assistants must come in the same order: an answer's second proposal is not its first. In doubt, as a
    history is longer than `recallm.guards.prompt.MAX_CHARS`, they do not agree.

    >>> one = [Turn("user", "Hotels in Rome under 90 euros?"), Turn("assistant", "The Lux, or the Roma.")]
    >>> other = [Turn("user", "Hotels in Oslo under 90 euros?"), Turn("assistant", "The Lux, or the Roma.")]
    >>> histories_agree(one, one), histories_agree(one, other)
    (True, False)
    """
    if any(sum(len(turn.text) for turn in each) > MAX_CHARS for each in (history, cached_history)):
        return history == cached_history
    one, other = ([(turn.role, parse(turn.text)) for turn in each] for each in (history, cached_history))
    return _has_facts(one, other) or _has_facts(other, one)


def places_agree(history: Sequence[Turn], cached_history: Sequence[Turn], prompts: Sequence[str]) -> bool:
    """Return whether a place that one of the last turns points to is taken by the same in both histories.

    It is if what they share comes in the same order, or if no place is pointed to.

    >>> one, other = [Turn("assistant", "Go by bus or by tram.")], [Turn("assistant", "Go by tram or by bus.")]
    >>> places_agree(one, other, ["Why not the second?"]), places_agree(one, other, ["Which is cheaper?"])
    (False, True)
    """
    if not any(_points_to_place(parse(prompt).words) for prompt in prompts):
        return True
    ours, theirs = (
        dict.fromkeys(word for turn in each for word in parse(turn.text).words if not is_request_word(word))
        for each in (history, cached_history)
    )
    return [word for word in ours if word in theirs] == [word for word in theirs if word in ours]


def _points_to_place(words: Sequence[str]) -> bool:
    """Return whether these words point to a place; "do I peel them first?" asks for a time."""
    if words[-1:] == ("first",) and words[-2:-1] != ("the",):
        words = words[:-1]
    return any(word in _PLACES or is_number(word) for word in words)


_Parsed = Sequence[tuple[str, ParsedPrompt]]


def _has_facts(history: _Parsed, other: _Parsed) -> bool:
    """Return whether a history has every fact of another, those of assistants in the same order."""
    words = {word for _, parsed in history for word in parsed.words}
    if not all(word in words for _, parsed in other for word in _facts(parsed)):
        return False
    flat = "\n".join(parsed.flat for _, parsed in history)
    literals = [literal for _, parsed in other for literal in parsed.literals]
    if not are_searchable(literals, flat) or not all(literal.lower() in flat for literal in literals):
        return False
    said = (word for role, parsed in history if role == "assistant" for word in parsed.words)
    return all(fact in said for role, parsed in other if role == "assistant" for fact in _facts(parsed))


def _facts(parsed: ParsedPrompt) -> Iterator[str]:
    """Yield the numbers and names of a turn in their order."""
    return (word for word in parsed.words if is_number(word) or word in parsed.names)
