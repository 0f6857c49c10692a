"""Maintenance, driven by hand: telling what a call would get, and taking it out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import driving

from recallm.codec.codec import Codec
from recallm.engine.effects import Call, Called, Effect, Embed, Emit, LoadModel
from recallm.engine.flow import answer
from recallm.engine.maintenance import explain, forget, load_model
from recallm.engine.plan import Flow, Plan
from recallm.errors import OddVectorError
from recallm.guards import word_lists
from recallm.guards.default import capitals_agree
from recallm.keying.completeness import is_complete
from recallm.keying.keyer import Request
from recallm.records import Bypass, Candidate, Entry, Explanation, Failure, Hit, Miss, ModelInfo, Recalled, Stored
from recallm.scoring import normalise
from recallm.storage.base import Put, Recall, Remove, Search

VECTOR = normalise([1.0, 0.0])
REQUEST = Request("question", "n", b"exact", None)
QUERY = REQUEST.query("model")
CODEC = Codec()
DOWN = ConnectionError("down")


def refuses(prompt: str, cached_prompt: str) -> bool:
    """Refuse everything."""
    return False


def plan(*guards: Any) -> Plan:
    """Return how a function is cached."""
    return Plan(0.9, guards, CODEC, is_complete)


def candidate(
    prompt: str = "reworded", similarity: float = 0.95, *, payload: bytes = b"", partition: str = ""
) -> Candidate:
    """Return what a storage may find, 5 seconds old, under a key of its own."""
    key = QUERY.key if prompt == QUERY.text else f"key of {prompt}"
    entry = Entry(key, "n", partition or QUERY.partition, prompt, VECTOR, payload or CODEC.encode("cached"))
    return Candidate(entry, similarity, 5.0)


def exactly(**changes: Any) -> Recalled:
    """Return what an exact look-up may find."""
    return Recalled(candidate("question", 1.0, **changes), epoch=7)


def drive(flow: Flow[Any], replies: dict[type, Any]) -> tuple[Any, list[Effect]]:
    """Run a flow by hand; a search is answered with what reaches its threshold."""
    table = {
        LoadModel: ModelInfo("model", {}),
        Recall: Recalled(None, epoch=7),
        Embed: VECTOR,
        Search: [],
        Call: Called("fresh", 0.0),
        Put: Stored(kept=True),
        Emit: None,
        **replies,
    }

    def reply(effect: Effect) -> Any:
        if isinstance(effect, Remove) and Remove not in replies:
            return len(effect.keys)
        value = table[type(effect)]
        if isinstance(effect, Search) and isinstance(value, list):
            return [found for found in value if not found.similarity < effect.threshold]
        return value

    return driving.drive(flow, reply)


def kinds(effects: Sequence[Effect]) -> set[type]:
    """Return the kinds of effects."""
    return {type(effect) for effect in effects}


@pytest.mark.parametrize(
    ("guards", "replies", "expected"),
    [
        ((), {Recall: exactly()}, Explanation("hit", "exact", True, 1.0, 0.9, "question", None, "n", 5.0)),
        ((), {Search: [candidate()]}, Explanation("hit", "similar", False, 0.95, 0.9, "reworded", None, "n", 5.0)),
        ((), {}, Explanation("miss", "empty", False, None, 0.9, None, None, "n", None)),
        (
            (),
            {Search: [candidate(similarity=0.2), candidate("nearer", 0.8)]},
            Explanation("miss", "unlike", False, 0.8, 0.9, "nearer", None, "n", 5.0),
        ),
        (
            (refuses,),
            {Search: [candidate(), candidate("nearer", 0.99)]},
            Explanation("miss", "vetoed", False, 0.99, 0.9, "nearer", "refuses", "n", 5.0),
        ),
        (
            (),
            {Search: [candidate(partition="q")]},
            Explanation("miss", "empty", False, None, 0.9, None, None, "n", None),
        ),
        ((), {Embed: None}, Explanation("miss", "exact_only", threshold=0.9, namespace="n")),
        ((), {Embed: OddVectorError()}, Explanation("miss", "odd_vector", threshold=0.9, namespace="n")),
        (
            (),
            {Search: [candidate(payload=b"garbage")]},
            Explanation("miss", "corrupt", False, 0.95, 0.9, "reworded", None, "n", 5.0),
        ),
        (
            (),
            {Search: [candidate(payload=b'\x01t{"$o":["elsewhere.Gone",{}]}')]},
            Explanation("miss", "unknown_type", False, 0.95, 0.9, "reworded", None, "n", 5.0, "elsewhere.Gone"),
        ),
        ((), {LoadModel: DOWN}, Explanation("bypass", "model")),
        ((), {Recall: DOWN}, Explanation("bypass", "storage")),
        ((), {Embed: DOWN}, Explanation("bypass", "embedding")),
        ((), {Search: DOWN}, Explanation("bypass", "storage")),
    ],
)
def test_explains_what_a_call_would_get(guards: Any, replies: dict[type, Any], expected: Explanation) -> None:
    """An explanation has the outcome, the reason and the nearest entry, below the threshold too."""
    explanation, effects = drive(explain(plan(*guards), REQUEST), replies)
    assert explanation == expected
    assert not kinds(effects) & {Call, Put, Remove}


payloads = st.sampled_from([b"garbage", CODEC.encode("cached")])
partitions = st.sampled_from([QUERY.partition, "other"])
found = st.builds(candidate, st.sampled_from(["a", "b"]), st.floats(), payload=payloads, partition=partitions)
troubles = st.sampled_from([DOWN, OddVectorError(), None])
troubled_replies = st.fixed_dictionaries(
    {},
    optional={
        LoadModel: st.just(DOWN),
        Recall: troubles | st.builds(exactly, payload=payloads, partition=partitions),
        Embed: troubles,
        Search: troubles | st.lists(found, max_size=4),
    },
)


@given(troubled_replies, st.sampled_from([(), (refuses,), (lambda one, other: other == "a",)]))
def test_an_explanation_is_what_the_call_gets(replies: dict[type, Any], guards: Any) -> None:
    """Whatever the storage holds and whatever fails, explaining and answering come to the same."""
    explanation, effects = drive(explain(plan(*guards), REQUEST), replies)
    _, answered = drive(answer(plan(*guards), REQUEST), replies)
    (outcome,) = [
        effect.event
        for effect in answered
        if isinstance(effect, Emit) and isinstance(effect.event, Hit | Miss | Bypass)
    ]
    assert explanation.outcome == type(outcome).__name__.lower()
    assert not kinds(effects) & {Call, Put, Remove}
    if isinstance(outcome, Hit):
        assert (explanation.exact, explanation.similarity) == (outcome.exact, outcome.candidate.similarity)
    else:
        assert explanation.reason in (outcome.reason, "empty")


def test_explains_who_refuses_an_expired_answer() -> None:
    """An answer kept for when the function raises is the nearest if there is no other; a guard may refuse it, too."""
    near = candidate()
    expired = near._replace(entry=near.entry._replace(fresh_for=1.0))
    explanation, _ = drive(explain(plan(refuses), REQUEST), {Search: [expired]})
    assert explanation == Explanation("miss", "unlike", False, 0.95, 0.9, "reworded", "refuses", "n", 5.0)


@pytest.mark.parametrize(("trouble", "times"), [(LoadModel, 1), (Embed, 1), (Recall, 2), (Search, 2)])
def test_explaining_asks_again_only_for_what_a_storage_may_still_give(trouble: type, times: int) -> None:
    """If the look-up that sees all near misses fails in the storage, that of a call is tried; else nothing is."""
    _, effects = drive(explain(plan(), REQUEST), {trouble: DOWN})
    assert [type(effect) for effect in effects].count(trouble) == times


def removed_keys(effects: Sequence[Effect]) -> list[str]:
    """Return the keys that a flow removed."""
    return [key for effect in effects if isinstance(effect, Remove) for key in effect.keys]


def test_forgets_all_that_the_call_would_hit() -> None:
    """Forgetting removes the exact entry and every similar one that no guard refuses, however many there are."""
    served = [candidate(f"reworded {number}") for number in range(40)]
    stays = [candidate("far", 0.5), candidate("refused"), candidate("foreign", partition="other")]
    guard = lambda prompt, cached_prompt: cached_prompt != "refused"  # noqa: E731  # a guard as users write them
    removed, effects = drive(forget(plan(guard), REQUEST), {Search: served + stays})
    assert removed == 41
    assert sorted(removed_keys(effects)) == sorted([QUERY.key, *(each.entry.key for each in served)])
    assert not kinds(effects) & {Call, Put, Emit}
    assert [effect.limit for effect in effects if isinstance(effect, Search)] == [None]


def test_forgets_the_exact_entry_of_a_text_without_an_embedding() -> None:
    """Forgetting a text without an embedding removes its exact entry and searches for nothing."""
    removed, effects = drive(forget(plan(), REQUEST), {Embed: None})
    assert (removed, removed_keys(effects)) == (1, [QUERY.key])
    assert Search not in kinds(effects)


@pytest.mark.parametrize("effect", [LoadModel, Remove, Embed, Search])
def test_forgetting_raises_where_it_cannot_be_done(effect: type) -> None:
    """Forgetting raises if it cannot be done: whoever removes an answer must know whether it is gone."""
    with pytest.raises(ConnectionError):
        drive(forget(plan(), REQUEST), {effect: DOWN})


@pytest.mark.parametrize(
    ("threshold", "guards", "read"),
    [(0.9, (refuses, capitals_agree), 1), (0.9, (refuses,), 0), ("exact", (capitals_agree,), 0)],
)
def test_warming_up_reads_the_lists_of_the_default_guards(threshold: Any, guards: Any, read: int) -> None:
    """Word lists are read with the model if a default guard will be asked."""
    word_lists.capitalised_words.cache_clear()
    ready, effects = drive(load_model(threshold, guards), {})
    assert ready
    assert word_lists.capitalised_words.cache_info().currsize == read
    assert effects == [LoadModel()] * (threshold != "exact")


def test_lists_that_cannot_be_read_keep_no_service_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a list is missing the trouble is told, and the model is loaded all the same."""
    error = FileNotFoundError()

    def missing(_name: str) -> list[str]:
        raise error

    monkeypatch.setattr(word_lists, "lines_of", missing)
    word_lists.capitalised_words.cache_clear()
    ready, effects = drive(load_model(0.9, (capitals_agree,)), {})
    assert ready
    assert effects == [Emit(Failure("guard", error)), LoadModel()]
