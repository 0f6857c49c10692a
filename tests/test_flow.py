"""The flow, driven by hand: what it asks for, and what it makes of what it gets."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.codec import Codec
from recallm.effects import Call, Called, Effect, Embed, Note, Prepare, Prepared, Put, Recall, Search
from recallm.errors import OddVectorError, UnstorableResponseError
from recallm.flow import Flow, Plan, answer, bypass, is_stream, total_tokens
from recallm.keying import Request
from recallm.records import Bypass, Candidate, Entry, Event, Failure, Hit, Miss, Recalled, Stored, Veto
from recallm.scoring import normalise

VECTOR = normalise([1.0, 0.0])
REQUEST = Request("question", "n", b"exact", 60.0, {})
QUERY = REQUEST.query("model")
CODEC = Codec()
NOTHING = Recalled(None, epoch=7)
PREPARED = Prepared("model", {})


class Unstorable:
    """A response that no codec takes."""


def refuses(prompt: str, cached_prompt: str) -> bool:
    """Refuse everything."""
    return False


def raises(*_: object) -> bool:
    """Fail."""
    raise ZeroDivisionError


def plan(**changes: Any) -> Plan:
    """Return how a function is cached."""
    return Plan(**{"threshold": 0.9, "guards": (), "codec": CODEC, "store_if": None, **changes})


def entry(prompt: str = "question", response: object = "cached", **changes: Any) -> Entry:
    """Return an entry that a storage may find for the query."""
    key = QUERY.key if prompt == QUERY.text else "other"
    fields = {"key": key, "namespace": "n", "partition": QUERY.partition, "prompt": prompt, "vector": VECTOR}
    return Entry(**{**fields, "payload": CODEC.encode(response), **changes})


def near(prompt: str = "reworded", similarity: float = 0.95, **changes: Any) -> Candidate:
    """Return what a search may find."""
    return Candidate(entry(prompt, **changes), similarity, 1.0)


def exactly(**changes: Any) -> Recalled:
    """Return what an exact look-up may find."""
    return Recalled(Candidate(entry(**changes), 1.0, 1.0), epoch=7)


REPLIES: dict[type, Any] = {
    Prepare: PREPARED,
    Recall: NOTHING,
    Embed: VECTOR,
    Search: [],
    Call: Called("fresh", 0.3),
    Put: Stored(kept=True),
    Note: None,
}


def drive(flow: Flow[Any], replies: dict[type, Any] | None = None) -> tuple[Any, list[Effect]]:
    """Run a flow by hand: each effect gets the reply of its type, which is thrown where it is an exception."""
    table = {**REPLIES, **(replies or {})}
    effects: list[Effect] = []
    advance, value = flow.send, None
    while True:
        try:
            effect = advance(value)
        except StopIteration as end:
            return end.value, effects
        effects.append(effect)
        value = table[type(effect)]
        advance = flow.throw if isinstance(value, BaseException) else flow.send


def noted(effects: Sequence[Effect]) -> list[Event]:
    """Return the events that a flow counted."""
    return [effect.event for effect in effects if isinstance(effect, Note)]


def steps(effects: Sequence[Effect]) -> list[type]:
    """Return the kinds of effects, in order."""
    return [type(effect) for effect in effects]


def outcomes(effects: Sequence[Effect]) -> list[Event]:
    """Return how the call was counted."""
    return [event for event in noted(effects) if isinstance(event, Hit | Miss | Bypass)]


def put(effects: Sequence[Effect]) -> Put:
    """Return the one thing that was stored."""
    (stored,) = [effect for effect in effects if isinstance(effect, Put)]
    return stored


def test_an_exact_hit_embeds_nothing() -> None:
    """The very prompt is answered after one look at the storage."""
    response, effects = drive(answer(plan(), REQUEST), {Recall: exactly()})
    assert response == "cached"
    assert steps(effects) == [Prepare, Recall, Note]
    assert effects[1] == Recall("n", QUERY.key)
    (hit,) = outcomes(effects)
    assert isinstance(hit, Hit)
    assert hit.exact


def test_a_similar_prompt_is_a_hit() -> None:
    """What a search finds at the threshold is served; the function is not called."""
    response, effects = drive(answer(plan(), REQUEST), {Search: [near()]})
    assert response == "cached"
    assert steps(effects) == [Prepare, Recall, Embed, Search, Note]
    assert effects[2] == Embed("question")
    (hit,) = outcomes(effects)
    assert isinstance(hit, Hit)
    assert not hit.exact


def test_a_miss_calls_and_keeps_the_answer() -> None:
    """The function's own object is returned; the entry is stored under the epoch seen before the call."""
    answered = {"text": "fresh", "usage": {"total_tokens": 12}}
    response, effects = drive(answer(plan(), REQUEST), {Call: Called(answered, 0.3)})
    assert response is answered
    assert steps(effects) == [Prepare, Recall, Embed, Search, Call, Note, Put, Note]
    stored = put(effects)
    assert (stored.epoch, stored.ttl) == (7, 60.0)
    assert (stored.entry.key, stored.entry.partition, stored.entry.namespace) == (QUERY.key, QUERY.partition, "n")
    assert (stored.entry.prompt, stored.entry.vector) == ("question", VECTOR)
    assert (stored.entry.seconds, stored.entry.tokens) == (0.3, 12)
    assert CODEC.decode(stored.entry.payload) == answered
    assert [type(event) for event in noted(effects)] == [Miss, Stored]


@pytest.mark.parametrize(("threshold", "expected"), [("strict", 0.99), ("loose", 0.85), (0.5, 0.5), (0, 0), (1, 1)])
def test_a_profile_is_the_models_own_where_it_is_calibrated(threshold: Any, expected: float) -> None:
    """A calibrated model moves the named profiles and never a given cosine."""
    replies: dict[type, Any] = {Prepare: Prepared("model", {"strict": 0.99})}
    _, effects = drive(answer(plan(threshold=threshold), REQUEST), replies)
    (search,) = [effect for effect in effects if isinstance(effect, Search)]
    assert (search.threshold, search.namespace, search.partition) == (expected, "n", QUERY.partition)


DOWN = ConnectionError("down")
ODD = OddVectorError("odd")


@pytest.mark.parametrize(
    ("effect", "reply", "outcome", "stage"),
    [
        (Prepare, DOWN, "model", "model"),
        (Prepare, ODD, "model", "model"),
        (Recall, DOWN, "storage", "storage"),
        (Recall, TimeoutError(), "storage", "storage"),
        (Recall, None, "storage", "storage"),
        (Recall, Recalled("garbage", 7), "storage", "storage"),  # type: ignore[arg-type]
        (Embed, DOWN, "embedding", "embedding"),
        (Search, DOWN, "storage", "storage"),
        (Search, None, "storage", "storage"),
        (Search, ["garbage"], "storage", "storage"),
        (Search, [near(similarity="high")], "storage", "storage"),  # type: ignore[arg-type]
    ],
)
def test_trouble_with_the_machinery_is_a_bypass(effect: type, reply: Any, outcome: str, stage: str) -> None:
    """The function is called once, nothing is stored, and the error is counted by its stage."""
    response, effects = drive(answer(plan(), REQUEST), {effect: reply})
    assert response == "fresh"
    assert outcomes(effects) == [Bypass(outcome)]
    assert [event.stage for event in noted(effects) if isinstance(event, Failure)] == [stage]
    assert steps(effects).count(Call) == 1
    assert Put not in steps(effects)


@pytest.mark.parametrize(("effect", "stage"), [(Embed, "embedding"), (Search, "storage")])
def test_an_odd_vector_is_a_miss_and_never_stored(effect: type, stage: str) -> None:
    """A vector that is no vector, or of another dimension, is doubt about an answer."""
    response, effects = drive(answer(plan(), REQUEST), {effect: ODD})
    assert response == "fresh"
    (missed,) = outcomes(effects)
    assert isinstance(missed, Miss)
    assert missed.reason == "odd_vector"
    assert Failure(stage, ODD) in noted(effects)
    assert Put not in steps(effects)


@pytest.mark.parametrize(
    ("changes", "replies", "reason", "counted"),
    [
        ({}, {Search: [near(similarity=0.89)]}, "unlike", []),
        ({}, {Search: [near(similarity=float("nan"))]}, "unlike", []),
        ({}, {Search: [near(similarity=float("inf"))]}, "unlike", []),
        ({}, {Search: [near(partition="other")]}, "unlike", []),
        ({"guards": (refuses,)}, {Search: [near()]}, "vetoed", [Veto("refuses")]),
        ({"guards": (raises,)}, {Search: [near()]}, "vetoed", [Veto("raises"), "guard"]),
        ({}, {Search: [near(payload=b"garbage")]}, "corrupt", ["codec"]),
        ({}, {Search: [near(payload=b"")]}, "corrupt", ["codec"]),
        ({}, {Recall: exactly(payload=b"garbage")}, "unlike", ["codec"]),
        ({}, {Recall: exactly(prompt="other", key=QUERY.key)}, "unlike", []),
        ({}, {Recall: exactly(partition="other")}, "unlike", []),
        ({}, {Recall: exactly(key="other")}, "unlike", []),
    ],
)
def test_doubt_about_an_answer_is_a_miss(
    changes: dict[str, Any], replies: dict[type, Any], reason: str, counted: list[Any]
) -> None:
    """The function is called, its answer takes the place of the doubtful one, and the doubt is counted."""
    response, effects = drive(answer(plan(**changes), REQUEST), replies)
    assert response == "fresh"
    (missed,) = outcomes(effects)
    assert isinstance(missed, Miss)
    assert missed.reason == reason
    told = [event for event in noted(effects) if isinstance(event, Veto | Failure)]
    assert [event.stage if isinstance(event, Failure) else event for event in told] == counted
    assert put(effects).entry.key == QUERY.key


def test_the_next_candidate_serves_where_the_first_is_refused_or_corrupt() -> None:
    """One bad entry does not hide a good one."""
    found = [
        near("good", 0.93, response="right"),
        near("vetoed", 0.99, response="wrong"),
        near("corrupt", 0.95, payload=b"garbage"),
    ]
    guard = lambda prompt, cached_prompt: cached_prompt != "vetoed"  # noqa: E731  # a guard as users write them
    response, effects = drive(answer(plan(guards=(guard,)), REQUEST), {Search: found})
    assert response == "right"
    assert Veto("<lambda>") in noted(effects)
    assert Call not in steps(effects)


def test_an_exact_entry_that_is_corrupt_leaves_the_search() -> None:
    """A reworded prompt may still answer."""
    response, _ = drive(answer(plan(), REQUEST), {Recall: exactly(payload=b"garbage"), Search: [near()]})
    assert response == "cached"


def test_a_text_without_an_embedding_matches_exactly_only() -> None:
    """It is not searched for, and kept without a vector."""
    response, effects = drive(answer(plan(), REQUEST), {Embed: None})
    assert response == "fresh"
    assert Search not in steps(effects)
    assert put(effects).entry.vector is None


def test_a_refresh_calls_whatever_is_stored() -> None:
    """Neither tier answers, and the new answer is put in the place of the old."""
    response, effects = drive(answer(plan(), REQUEST, reuse=False), {Recall: exactly(), Search: [near()]})
    assert response == "fresh"
    assert Search not in steps(effects)
    assert put(effects).entry.key == QUERY.key
    assert put(effects).entry.vector is VECTOR


@pytest.mark.parametrize(
    ("store_if", "response", "kept"),
    [
        (None, "fresh", True),
        (None, None, False),
        (None, "", True),
        (None, 0, True),
        (lambda response: True, None, True),
        (lambda response: False, "fresh", False),
        (lambda response: 0, "fresh", False),
        (lambda response: response == "fresh", "fresh", True),
    ],
)
def test_what_is_kept_is_the_users_choice(store_if: Any, response: object, kept: bool) -> None:
    """Without a predicate, all but None is kept."""
    returned, effects = drive(answer(plan(store_if=store_if), REQUEST), {Call: Called(response, 0.0)})
    assert returned is response
    assert (Put in steps(effects)) is kept
    assert not [event for event in noted(effects) if isinstance(event, Failure)]


@pytest.mark.parametrize(
    ("changes", "replies", "stage", "error"),
    [
        ({"store_if": raises}, {}, "store_if", ZeroDivisionError),
        ({}, {Call: Called(Unstorable(), 0.0)}, "codec", UnstorableResponseError),
        ({}, {Put: DOWN}, "storage", ConnectionError),
        ({}, {Put: ODD}, "storage", OddVectorError),
    ],
)
def test_an_answer_that_cannot_be_kept_still_reaches_the_caller(
    changes: dict[str, Any], replies: dict[type, Any], stage: str, error: type[Exception]
) -> None:
    """The call is a miss, and the failure is counted by its stage."""
    expected = replies.get(Call, REPLIES[Call]).response
    response, effects = drive(answer(plan(**changes), REQUEST), replies)
    assert response is expected
    assert [type(event) for event in outcomes(effects)] == [Miss]
    (failure,) = [event for event in noted(effects) if isinstance(event, Failure)]
    assert failure.stage == stage
    assert isinstance(failure.error, error)


class Later:
    """An awaitable, and a stream that has ``__aiter__`` alone."""

    def __await__(self) -> Any:
        """Await nothing."""
        yield

    def __aiter__(self) -> Any:
        """Give itself."""
        return self


class Evasive:
    """An object that raises on being asked for what it does not have."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


def test_a_stream_is_neither_consumed_nor_kept() -> None:
    """The caller gets it whole, and the call counts as a bypass."""
    stream = (chunk for chunk in ["a", "b"])
    response, effects = drive(answer(plan(store_if=list), REQUEST), {Call: Called(stream, 0.0)})
    assert response is stream
    assert outcomes(effects) == [Bypass("stream")]
    assert Put not in steps(effects)
    assert list(stream) == ["a", "b"]


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (iter([]), True),
        ((each for each in [1]), True),
        (Later(), True),
        (map(str, []), True),
        (zip([]), True),
        ([], False),
        ("text", False),
        (b"bytes", False),
        ({}, False),
        (range(3), False),
        (None, False),
        (SimpleNamespace(), False),
        (Evasive(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_stream_is_what_reading_consumes(response: object, expected: bool) -> None:
    """Containers are none, however often they can be iterated over."""
    assert is_stream(response) is expected


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ({"usage": {"total_tokens": 5}}, 5),
        (SimpleNamespace(usage=SimpleNamespace(total_tokens=5)), 5),
        (SimpleNamespace(usage={"total_tokens": 5}), 5),
        ({"usage": SimpleNamespace(total_tokens=5)}, 5),
        ({"usage": None}, 0),
        ({"usage": {"total_tokens": None}}, 0),
        ({"usage": {"total_tokens": True}}, 0),
        ({"usage": {"total_tokens": -5}}, 0),
        ({"usage": {"total_tokens": 5.0}}, 0),
        ("text", 0),
        (None, 0),
        (Evasive(), 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_tokens_are_what_a_response_reports(response: object, expected: int) -> None:
    """A positive int under ``usage.total_tokens``, as items or attributes; else nothing."""
    assert total_tokens(response) == expected


@pytest.mark.parametrize("effect", [Prepare, Recall, Embed, Search, Call, Put])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_the_program_passes(effect: type, error: type[BaseException]) -> None:
    """An interrupt or a cancellation is nobody's to swallow, wherever it comes."""
    with pytest.raises(error):
        drive(answer(plan(), REQUEST), {effect: error()})


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (Bypass("stream"), [Bypass("stream")]),
        (Failure("keying", DOWN), [Failure("keying", DOWN), Bypass("keying")]),
    ],
)
def test_a_bypassed_call_only_calls(reason: Bypass | Failure, expected: list[Event]) -> None:
    """Neither the model nor the storage is asked."""
    response, effects = drive(bypass(reason))
    assert response == "fresh"
    assert noted(effects) == expected
    assert set(steps(effects)) == {Note, Call}


troubles = st.sampled_from([DOWN, ODD, TimeoutError(), None, "garbage", [None]])
worlds = st.fixed_dictionaries(
    {},
    optional={
        Prepare: troubles,
        Recall: troubles | st.sampled_from([exactly(), exactly(payload=b"garbage"), exactly(partition="other")]),
        Embed: troubles,
        Search: troubles
        | st.lists(
            st.builds(
                near,
                similarity=st.floats(),
                payload=st.sampled_from([b"garbage", CODEC.encode("cached")]),
                partition=st.sampled_from([QUERY.partition, "other"]),
            )
        ),
        Put: troubles,
        Call: st.sampled_from(
            [Called(response, 0.0) for response in (None, "fresh", Unstorable(), Later(), Evasive())]
        ),
    },
)


@given(worlds, st.sampled_from([(), (refuses,), (raises,)]), st.sampled_from([None, raises, bool]), st.booleans())
def test_whatever_fails_the_caller_gets_an_answer(world: Any, guards: Any, store_if: Any, reuse: bool) -> None:
    """Either a hit, or the function called once and its own object returned; and the call is counted once."""
    response, effects = drive(answer(plan(guards=guards, store_if=store_if), REQUEST, reuse=reuse), world)
    (outcome,) = outcomes(effects)
    if isinstance(outcome, Hit):
        assert response == "cached"
        assert Call not in steps(effects)
        assert outcome.candidate.entry.partition == QUERY.partition
        assert outcome.candidate.similarity >= 0.9
    else:
        assert response is world.get(Call, REPLIES[Call]).response
        assert steps(effects).count(Call) == 1
