"""Decisions on conversations whose history may be similar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm import DEFAULT_GUARDS
from recallm.engine.decision import decide, settle
from recallm.engine.histories import (
    ASSISTANT_COSINE,
    HISTORY,
    HISTORY_COSINE,
    MOST_HISTORIES,
    MOST_TURNS,
    Floors,
    conversations,
    floors,
    to_embed,
)
from recallm.keying.conversation import written
from recallm.records import Candidate, Entry, Query, Turn
from recallm.scoring import normalise


def conversation(*texts: str) -> str:
    """Return a conversation as it is stored, the user's turn first and last."""
    turns = [Turn(("user", "assistant")[at % 2], text) for at, text in enumerate(texts)]
    return written(turns[:-1], texts[-1])


def query(*texts: str) -> Query:
    """Return a query of a call with a conversation."""
    return Query(texts[-1], "n", "p", "k", conversation(*texts))


def candidate(prompt: str, similarity: float = 0.95) -> Candidate:
    """Return a candidate as a storage finds it."""
    return Candidate(Entry(prompt, "n", "p", prompt, None, b""), similarity, 1.0)


def at_angle(cosine: float) -> Any:
    """Return a unit vector with this cosine to the first axis."""
    return normalise([cosine, (1.0 - cosine * cosine) ** 0.5])


ASKED = query("first", "answer", "last")
FIRST_AXIS = at_angle(1.0)


def test_an_equal_history_serves_at_once_and_first() -> None:
    """A candidate with the call's own history needs no vectors, and comes before more similar prompts."""
    same, other = (
        candidate(conversation("first", "answer", "last one"), 0.93),
        candidate(conversation("a", "b", "last")),
    )
    decision = decide(ASKED, [other, same], 0.92, ())
    assert (decision.served, decision.undecided) == ((same,), (other,))
    assert decide(ASKED, [other, same], 0.94, ()).served == ()


@pytest.mark.parametrize(
    "stored",
    [
        "last",
        "[]",
        conversation("last"),
        conversation("first", "answer", "more", "answer", "last"),
        written([Turn("assistant", "answer"), Turn("user", "first")], "last"),
    ],
)
def test_an_entry_with_other_turns_serves_no_call(stored: str) -> None:
    """What is no conversation, or one of more turns or of other roles, is as good as not stored."""
    decision = decide(ASKED, [candidate(stored, 1.0)], 0.5, ())
    assert (decision.served, decision.undecided, decision.refusals) == ((), (), ())


@pytest.mark.parametrize(
    ("one", "other", "refused_by"),
    [
        (("Hotels in Rome?", "Many.", "And cheap?"), ("Hotels in Oslo?", "Many.", "And cheap?"), HISTORY),
        (("I am allergic to nuts.", "Noted.", "A dinner?"), ("I am vegetarian.", "Noted.", "A dinner?"), HISTORY),
        (("Edible?", "Yes, it is edible.", "How?"), ("Edible?", "No, it is not edible.", "How?"), HISTORY),
        (("Two inns?", "The Anker, the Krone.", "Go."), ("Two inns?", "The Krone, the Anker.", "Go."), HISTORY),
        (("Ideas?", "Hiking, or swimming.", "The first?"), ("Ideas?", "Swimming, or hiking.", "The first?"), HISTORY),
        (("Is it open?", "Yes.", "At 9?"), ("Is it open now?", "Yes.", "At 8?"), "numbers_agree"),
        (
            ("How do I reset it?", "Press the button.", "Done."),
            ("How can I reset it?", "Press the button.", "Done."),
            None,
        ),
    ],
)
def test_what_the_texts_say_refuses_before_anything_is_embedded(
    one: tuple[str, ...], other: tuple[str, ...], refused_by: str | None
) -> None:
    """The guards are asked about each turn, and numbers, names and literals must agree; the veto names who refused."""
    decision = decide(query(*one), [candidate(conversation(*other))], 0.9, DEFAULT_GUARDS)
    assert [by for _, by in decision.refusals] == ([] if refused_by is None else [refused_by])
    assert len(decision.undecided) == (refused_by is None)


@pytest.mark.parametrize(
    ("users", "assistants", "serves"),
    [
        (1.0, ASSISTANT_COSINE, True),
        (1.0, ASSISTANT_COSINE - 0.01, False),
        (HISTORY_COSINE, ASSISTANT_COSINE, True),
        (HISTORY_COSINE - 0.01, ASSISTANT_COSINE, False),
        (None, 1.0, False),
        (1.0, None, False),
    ],
)
def test_the_turns_must_be_similar(users: float | None, assistants: float | None, serves: bool) -> None:
    """The assistants' last turns reach one cosine, each other turn reaches another, or none without a vector."""
    other = candidate(conversation("second", "reply", "last"))
    cosines = {"second": users, "reply": assistants}
    made: dict[str, Any] = {
        text: None if cosine is None else at_angle(cosine + 1e-6 if cosine < 1 else 1.0)
        for text, cosine in cosines.items()
    }
    settled = settle(ASKED, [other], {**made, "first": FIRST_AXIS, "answer": FIRST_AXIS}, Floors())
    assert (settled.served == (other,)) is serves
    assert settled.refusals == (() if serves else ((other, HISTORY),))


@pytest.mark.parametrize(("earlier", "serves"), [(0.6, True), (0.4, False)])
def test_what_an_assistant_said_earlier_counts_as_what_a_user_did(earlier: float, serves: bool) -> None:
    """Of the assistants' turns, the last one alone must be as similar as an answer that a user may refer to."""
    other = candidate(conversation("first", "second", "then", "answer", "last"))
    vectors = {"reply": FIRST_AXIS, "second": at_angle(earlier)}
    asked = query("first", "reply", "then", "answer", "last")
    assert (settle(asked, [other], vectors, Floors()).served == (other,)) is serves


@pytest.mark.parametrize(
    ("threshold", "calibrated", "least"),
    [
        ("balanced", {}, Floors()),
        ("strict", {"strict": 0.99}, Floors()),
        (0.5, {}, Floors()),
        ("loose", {"balanced": 0.6}, Floors()),
        ("loose", {"balanced": 0.98, "loose": 0.97}, Floors(0.95, 0.875)),
        (0.98, {}, Floors(0.95, 0.875)),
        (0.9, {"balanced": 0.98}, Floors(0.95, 0.875)),
        (1.0, {}, Floors(1.0, 1.0)),
    ],
)
def test_by_a_model_that_finds_all_texts_alike_turns_must_be_more_alike(
    threshold: Any, calibrated: dict[str, float], least: Floors
) -> None:
    """The scale of a model is told by what it calls balanced, or by a threshold that the user measured; never lower."""
    assert floors(threshold, calibrated) == least


def test_only_turns_that_differ_are_embedded() -> None:
    """An equal turn is similar to its counterpart whether a model can represent it or not."""
    other = candidate(conversation("first", "reply", "last"))
    assert to_embed(ASKED, [other]) == ("answer", "reply")
    assert settle(ASKED, [other], {"answer": FIRST_AXIS, "reply": FIRST_AXIS}, Floors()).served == (other,)


def test_the_work_is_bounded() -> None:
    """Of many histories the most similar are judged, and of their turns a bounded number is embedded."""
    many = [candidate(conversation(f"first {at}", f"answer {at}", "last"), 1.0 - at / 1000) for at in range(100)]
    undecided = decide(ASKED, many, 0.5, ()).undecided
    assert undecided == tuple(many[: len(undecided)])
    assert len(conversations(ASKED, many)) == MOST_HISTORIES
    assert len(to_embed(ASKED, many)) <= MOST_TURNS
    same = candidate(conversation("first", "answer", "at last"), 0.6)
    assert decide(ASKED, [*many, same], 0.5, ()).served == (same,)


texts = st.sampled_from(["a", "b", "Rome", "Oslo", "3", "4"])
conversing = st.tuples(texts, texts, texts)
stored = st.lists(st.tuples(conversing, st.floats(0, 1)), max_size=6)
vectors = st.dictionaries(texts, st.floats(-1, 1).map(at_angle))


def all_served(asked: Any, found: Any, threshold: float, known: Mapping[str, Any]) -> list[Candidate]:
    """Return what may serve a conversation, similar histories included."""
    candidates = [candidate(conversation(*each), similarity) for each, similarity in found]
    decision = decide(query(*asked), candidates, threshold, DEFAULT_GUARDS)
    return [*decision.served, *settle(query(*asked), decision.undecided, known, floors(threshold, {})).served]


@given(conversing, stored, vectors, st.floats(0, 1), st.floats(0, 1))
def test_raising_the_threshold_never_adds_a_hit(asked: Any, found: Any, known: Any, one: float, other: float) -> None:
    """A candidate that serves at a threshold serves at every lower one."""
    low, high = sorted([one, other])
    assert set(all_served(asked, found, high, known)) <= set(all_served(asked, found, low, known))


@given(conversing, stored, vectors, st.floats(0, 1))
def test_whatever_an_equal_history_serves_a_similar_one_serves_first(
    asked: Any, found: Any, known: Any, threshold: float
) -> None:
    """Of candidates with the same history, those serve that would if it had to be equal, before all others."""
    same = [candidate(each[-1], similarity) for each, similarity in found if each[:-1] == asked[:-1]]
    expected = decide(Query(asked[-1], "n", "p", "k"), same, threshold, DEFAULT_GUARDS).served
    served = all_served(asked, found, threshold, known)[: len(expected)]
    assert [each.entry.prompt for each in served] == [conversation(*asked[:-1], each.entry.prompt) for each in expected]
