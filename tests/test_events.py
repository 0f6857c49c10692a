"""`recallm.events`: the records that listeners are told, and what is left of them without anybody's words."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from recallm import events
from recallm.events import (
    Audited,
    Bypass,
    Coalesced,
    Compared,
    Embedded,
    Event,
    Failure,
    Hit,
    Miss,
    Reported,
    Revalidating,
    ServedStale,
    Stored,
    Veto,
    redacted,
)
from recallm.records import Candidate, Entry, Nearest, Query

WORDS = "the patient's name"
CANDIDATE = Candidate(Entry("k", "n", "p", WORDS, None, WORDS.encode(), 2.0, 5), 0.95, 7.0)
QUERY = Query(WORDS, "n", "p", "k")

ROWS: list[tuple[Event, dict[str, object]]] = [
    (
        Hit(CANDIDATE, False, WORDS),
        {
            "event": "Hit",
            "exact": False,
            "similarity": 0.95,
            "age": 7.0,
            "namespace": "n",
            "saved_seconds": 2.0,
            "saved_tokens": 5,
            "saved_cost": 0.0,
        },
    ),
    (
        Miss("shadow", QUERY, 0, shadowed=Hit(CANDIDATE, False, WORDS)),
        {"event": "Miss", "reason": "shadow", "namespace": "n", "similarity": 0.95, "refused_by": None},
    ),
    (Miss("unlike", QUERY, 0), {"event": "Miss", "reason": "unlike", "namespace": "n"}),
    (
        Miss("vetoed", QUERY, 0, nearest=Nearest(CANDIDATE, "negation")),
        {"event": "Miss", "reason": "vetoed", "namespace": "n", "similarity": 0.95, "refused_by": "negation"},
    ),
    (Bypass("keying", WORDS), {"event": "Bypass", "reason": "keying"}),
    (Failure("codec", ValueError(WORDS)), {"event": "Failure", "stage": "codec", "error": "ValueError"}),
    (Veto("negation"), {"event": "Veto", "guard": "negation"}),
    (Stored(kept=True, evicted=2), {"event": "Stored", "kept": True, "evicted": 2}),
    (Embedded(0.5), {"event": "Embedded", "seconds": 0.5}),
    (
        Compared(WORDS, WORDS, 0.9, "miss", "negation"),
        {"event": "Compared", "similarity": 0.9, "outcome": "miss", "vetoed_by": "negation"},
    ),
    (Coalesced(), {"event": "Coalesced"}),
    (ServedStale(), {"event": "ServedStale"}),
    (Audited(0.95, same=False), {"event": "Audited", "similarity": 0.95, "same": False}),
    (Reported(), {"event": "Reported"}),
    (Revalidating(), {"event": "Revalidating"}),
]


@pytest.mark.parametrize(("event", "expected"), ROWS, ids=[type(event).__name__ for event, _ in ROWS])
def test_what_is_redacted_holds_nobodys_words(event: Event, expected: dict[str, object]) -> None:
    """A redacted event tells names and numbers, and neither prompts, responses nor texts of exceptions."""
    told = redacted(event)
    assert dict(told) == expected
    assert WORDS not in repr(told)


def test_every_event_is_public_and_redacted_in_a_test() -> None:
    """Each kind of event can be imported from `recallm.events`, is frozen, and has a row in this test."""
    kinds = set(typing.get_args(Event))
    assert kinds == {type(event) for event, _ in ROWS}
    assert {kind.__name__ for kind in kinds} <= set(events.__all__)
    for kind in kinds:
        assert issubclass(kind, tuple) or kind.__dataclass_params__.frozen
        assert issubclass(kind, tuple) or dataclasses.is_dataclass(kind)
