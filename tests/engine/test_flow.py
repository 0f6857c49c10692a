"""The flow, driven by hand: what it asks for, and what it makes of what it gets."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Generator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import driving
from support.driving import AsResult, InTurn, by_type

from recallm import standalone
from recallm.codec.codec import SLOW_BYTES, Codec
from recallm.engine.decision import QUICK_CHARS, Decision
from recallm.engine.effects import (
    Call,
    Called,
    Coalesce,
    Decode,
    Effect,
    Embed,
    EmbedTurns,
    Emit,
    Judge,
    LoadModel,
    Rewrite,
    Verify,
)
from recallm.engine.flow import RECORDED_FLOOR, answer, bypass
from recallm.engine.lookup import CANDIDATES, EXACT_MODEL
from recallm.engine.plan import Flow, Plan
from recallm.errors import BusyError, CircuitOpenError, CorruptPayloadError, OddVectorError, UnstorableResponseError
from recallm.keying.completeness import is_complete
from recallm.keying.conversation import written
from recallm.keying.keyer import Request, Rewriting
from recallm.records import (
    Bypass,
    Candidate,
    Coalesced,
    Compared,
    Entry,
    Event,
    Failure,
    Hit,
    Miss,
    ModelInfo,
    Recalled,
    ServedStale,
    Stage,
    Stored,
    Turn,
    Veto,
)
from recallm.scoring import normalise
from recallm.storage.base import Beside, Put, Recall, Search

VECTOR = normalise([1.0, 0.0])
REQUEST = Request("question", "n", b"exact", 60.0)
QUERY = REQUEST.query("model")
CODEC = Codec()
NOTHING = Recalled(None, epoch=7)
PREPARED = ModelInfo("model", {})


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
    return Plan(**{"threshold": 0.9, "guards": (), "codec": CODEC, "store_if": is_complete, **changes})


def entry(prompt: str = "question", response: object = "cached", **changes: Any) -> Entry:
    """Return an entry that a storage may find for the query."""
    key = QUERY.key if prompt == QUERY.text else "other"
    fields = {"key": key, "namespace": "n", "partition": QUERY.partition, "prompt": prompt, "vector": VECTOR}
    return Entry(**{**fields, "payload": CODEC.encode(response), **changes})


def near(prompt: str = "reworded", similarity: float = 0.95, **changes: Any) -> Candidate:
    """Return what a search may find."""
    return Candidate(entry(prompt, **changes), similarity, 1.0)


def exactly(age: float = 1.0, **changes: Any) -> Recalled:
    """Return what an exact look-up may find."""
    return Recalled(Candidate(entry(**changes), 1.0, age), epoch=7)


def accepts(*_: object) -> bool:
    """Accept everything."""
    return True


REPLIES: dict[type, Any] = {
    LoadModel: PREPARED,
    Recall: NOTHING,
    Embed: VECTOR,
    Search: [],
    Call: Called("fresh", 0.3),
    Put: Stored(kept=True),
    Emit: None,
}


def drive(flow: Flow[Any], replies: dict[type, Any] | None = None) -> tuple[Any, list[Effect]]:
    """Run a flow by hand: each effect gets the reply of its type, by default one of `REPLIES`."""
    return driving.drive(flow, by_type({**REPLIES, **(replies or {})}))


def emitted(effects: Sequence[Effect]) -> list[Event]:
    """Return the events that a flow emitted."""
    return [effect.event for effect in effects if isinstance(effect, Emit)]


def steps(effects: Sequence[Effect]) -> list[type]:
    """Return the kinds of effects, in order."""
    return [type(effect) for effect in effects]


def outcomes(effects: Sequence[Effect]) -> list[Event]:
    """Return how the call was counted."""
    return [event for event in emitted(effects) if isinstance(event, Hit | Miss | Bypass)]


def put(effects: Sequence[Effect]) -> Put:
    """Return the one thing that was stored."""
    (stored,) = [effect for effect in effects if isinstance(effect, Put)]
    return stored


def test_an_exact_hit_embeds_nothing() -> None:
    """The very prompt is answered after one look at the storage, without an embedding."""
    response, effects = drive(answer(plan(), REQUEST), {Recall: exactly()})
    assert response == "cached"
    assert steps(effects) == [LoadModel, Recall, Emit]
    assert effects[1] == Recall("n", QUERY.key)
    (hit,) = outcomes(effects)
    assert isinstance(hit, Hit)
    assert hit.exact


def test_a_similar_prompt_is_a_hit() -> None:
    """A candidate at the threshold is served, and the function is not called."""
    response, effects = drive(answer(plan(), REQUEST), {Search: [near()]})
    assert response == "cached"
    assert steps(effects) == [LoadModel, Recall, Embed, Search, Emit]
    assert effects[2] == Embed("question", PREPARED.model_id)
    (hit,) = outcomes(effects)
    assert isinstance(hit, Hit)
    assert not hit.exact


def test_a_miss_calls_and_keeps_the_answer() -> None:
    """A miss returns the function's own object and stores it under the epoch seen before the call."""
    answered = {"text": "fresh", "usage": {"total_tokens": 12}}
    response, effects = drive(answer(plan(), REQUEST), {Call: Called(answered, 0.3)})
    assert response is answered
    assert steps(effects) == [LoadModel, Recall, Embed, Search, Call, Emit, Put, Emit]
    stored = put(effects)
    assert (stored.epoch, stored.ttl) == (7, 60.0)
    assert (stored.entry.key, stored.entry.partition, stored.entry.namespace) == (QUERY.key, QUERY.partition, "n")
    assert (stored.entry.prompt, stored.entry.vector) == ("question", VECTOR)
    assert (stored.entry.seconds, stored.entry.tokens) == (0.3, 12)
    assert CODEC.decode(stored.entry.payload) == answered
    assert [type(event) for event in emitted(effects)] == [Miss, Stored]


@pytest.mark.parametrize(("threshold", "expected"), [("strict", 0.99), ("loose", 0.85), (0.5, 0.5), (0, 0), (1, 1)])
def test_a_profile_is_the_models_own_where_it_is_calibrated(threshold: Any, expected: float) -> None:
    """A calibrated model moves the named profiles and never a given cosine."""
    replies: dict[type, Any] = {LoadModel: ModelInfo("model", {"strict": 0.99})}
    _, effects = drive(answer(plan(threshold=threshold), REQUEST), replies)
    (search,) = [effect for effect in effects if isinstance(effect, Search)]
    assert (search.threshold, search.namespace, search.partition) == (expected, "n", QUERY.partition)


DOWN = ConnectionError("down")
ODD = OddVectorError("odd")


@pytest.mark.parametrize(
    ("effect", "reply", "outcome", "stage"),
    [
        (LoadModel, DOWN, "model", "model"),
        (LoadModel, ODD, "model", "model"),
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
def test_trouble_with_the_machinery_is_a_bypass(effect: type, reply: Any, outcome: Stage, stage: Stage) -> None:
    """If an effect raises, the function is called once, nothing is stored, and the error is counted by its stage."""
    response, effects = drive(answer(plan(), REQUEST), {effect: reply})
    assert response == "fresh"
    assert outcomes(effects) == [Bypass(outcome)]
    assert [event.stage for event in emitted(effects) if isinstance(event, Failure)] == [stage]
    assert steps(effects).count(Call) == 1
    assert Put not in steps(effects)


@pytest.mark.parametrize(("effect", "stage"), [(Embed, "embedding"), (Search, "storage")])
def test_an_odd_vector_is_a_miss_and_never_stored(effect: type, stage: Stage) -> None:
    """A vector that is none, or of another dimension, makes a miss whose answer is not stored."""
    response, effects = drive(answer(plan(), REQUEST), {effect: ODD})
    assert response == "fresh"
    (missed,) = outcomes(effects)
    assert isinstance(missed, Miss)
    assert missed.reason == "odd_vector"
    assert Failure(stage, ODD) in emitted(effects)
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
        ({}, {Recall: exactly(payload=b"garbage")}, "corrupt", ["codec"]),
        ({}, {Recall: exactly(prompt="other", key=QUERY.key)}, "unlike", []),
        ({}, {Recall: exactly(partition="other")}, "unlike", []),
        ({}, {Recall: exactly(key="other")}, "unlike", []),
    ],
)
def test_doubt_about_an_answer_is_a_miss(
    changes: dict[str, Any], replies: dict[type, Any], reason: str, counted: list[Any]
) -> None:
    """A doubtful entry is counted and not served, and the function's answer takes its place."""
    response, effects = drive(answer(plan(**changes), REQUEST), replies)
    assert response == "fresh"
    (missed,) = outcomes(effects)
    assert isinstance(missed, Miss)
    assert missed.reason == reason
    troubles = [event for event in emitted(effects) if isinstance(event, Veto | Failure)]
    assert [event.stage if isinstance(event, Failure) else event for event in troubles] == counted
    assert put(effects).entry.key == QUERY.key


ELSEWHERE = b'\x01t{"$o":["elsewhere.Gone",{}]}'
LOCAL = b'\x01t{"$o":["elsewhere.ask.<locals>.Gone@ab",{}]}'


@pytest.mark.parametrize(
    ("replies", "changes", "detail", "stored"),
    [
        ({Recall: exactly(payload=ELSEWHERE)}, {}, "elsewhere.Gone", False),
        ({Recall: exactly(payload=ELSEWHERE), Embed: None}, {}, "elsewhere.Gone", False),
        ({Recall: exactly(payload=ELSEWHERE), Coalesce: "leading"}, {"coalesce": True}, "elsewhere.Gone", False),
        ({Recall: exactly(payload=LOCAL)}, {}, "elsewhere.ask.<locals>.Gone", True),
        ({Search: [near(payload=ELSEWHERE)]}, {}, "elsewhere.Gone", True),
        ({Recall: exactly(payload=b'\x01t{"$o":["a secret!",{}]}')}, {}, "", False),
    ],
)
def test_an_answer_of_an_unknown_class_is_a_miss_and_stays_for_others(
    replies: dict[type, Any], changes: dict[str, Any], detail: str, stored: bool
) -> None:
    """Such an answer is no failure; its entry is left to those who know the class, unless only one process does."""
    response, effects = drive(answer(plan(**changes), REQUEST), replies)
    assert response == "fresh"
    (missed,) = outcomes(effects)
    assert isinstance(missed, Miss)
    assert (missed.reason, missed.detail) == ("unknown_type", detail)
    assert not [event for event in emitted(effects) if isinstance(event, Failure)]
    assert (Put in steps(effects)) is stored


def test_refreshing_overwrites_an_answer_of_an_unknown_class() -> None:
    """Whoever asks for a new answer gets it stored."""
    _, effects = drive(answer(plan(), REQUEST, reuse=False), {Recall: exactly(payload=ELSEWHERE)})
    assert put(effects).entry.key == QUERY.key


LARGE = [["text", 1.5]] * SLOW_BYTES


def test_a_large_answer_is_decoded_by_the_driver() -> None:
    """What takes long to decode is an effect, so that an event loop need not wait for it; texts never do."""
    large = CODEC.encode(LARGE)
    response, effects = drive(answer(plan(), REQUEST), {Recall: exactly(payload=large), Decode: "decoded"})
    assert response == "decoded"
    assert Decode(CODEC, large) in effects
    _, effects = drive(answer(plan(), REQUEST), {Recall: exactly(response="x" * SLOW_BYTES * 2)})
    assert Decode not in steps(effects)


@pytest.mark.parametrize("error", [TimeoutError(), CorruptPayloadError()])
def test_a_large_answer_that_cannot_be_decoded_in_time_is_a_miss(error: Exception) -> None:
    """An answer that takes too long, or cannot be read, is counted and not served."""
    replies = {Recall: exactly(payload=CODEC.encode(LARGE)), Decode: error}
    response, effects = drive(answer(plan(), REQUEST), replies)
    assert response == "fresh"
    assert Failure("codec", error) in emitted(effects)
    assert put(effects).entry.key == QUERY.key


def test_the_driver_has_guards_judge_long_prompts() -> None:
    """What guards take long for is an effect, so that an event loop need not wait for it; short prompts never are."""
    long, asked = near("long" * QUICK_CHARS), plan(guards=(accepts,))
    response, effects = drive(answer(asked, REQUEST), {Search: [long], Judge: Decision((near(),))})
    assert response == "cached"
    (judge,) = [effect for effect in effects if isinstance(effect, Judge)]
    assert judge.decide() == Decision((long,))
    _, effects = drive(answer(asked, REQUEST), {Search: [near()] * 16})
    assert Judge not in steps(effects)
    _, effects = drive(answer(plan(guards=()), REQUEST), {Search: [long]})
    assert Judge not in steps(effects)


@pytest.mark.parametrize("error", [TimeoutError(), BusyError()])
def test_long_prompts_that_are_not_judged_in_time_do_not_serve(error: Exception) -> None:
    """If guards take too long the call is a miss, which is counted and stored."""
    found = [near("long" * QUICK_CHARS)]
    response, effects = drive(answer(plan(guards=(accepts,)), REQUEST), {Search: found, Judge: error})
    assert response == "fresh"
    assert Failure("guard", error) in emitted(effects)
    assert put(effects).entry.key == QUERY.key


def test_the_next_candidate_serves_where_the_first_is_refused_or_corrupt() -> None:
    """A refused or corrupt candidate does not hide a good one."""
    found = [
        near("good", 0.93, response="right"),
        near("vetoed", 0.99, response="wrong"),
        near("corrupt", 0.95, payload=b"garbage"),
    ]
    guard = lambda prompt, cached_prompt: cached_prompt != "vetoed"  # noqa: E731  # a guard as users write them
    response, effects = drive(answer(plan(guards=(guard,)), REQUEST), {Search: found})
    assert response == "right"
    assert Veto("<lambda>") in emitted(effects)
    assert Call not in steps(effects)


@pytest.mark.parametrize(
    ("payload", "response", "judged"), [(CODEC.encode("cached"), "cached", 2), (b"garbage", "fresh", 3)]
)
def test_the_guards_judge_until_a_candidate_serves(payload: bytes, response: str, judged: int) -> None:
    """Candidates after the one that serves are not judged; those after one that is allowed, but does not serve, are."""
    found = [near("vetoed", 0.99), near("allowed", 0.97, payload=payload), near("vetoed as well", 0.95)]
    asked: list[str] = []

    def guard(_prompt: str, cached_prompt: str) -> bool:
        asked.append(cached_prompt)
        return cached_prompt == "allowed"

    answered, effects = drive(answer(plan(guards=(guard,)), REQUEST), {Search: found})
    assert answered == response
    assert len(asked) == judged
    assert emitted(effects).count(Veto("guard")) == judged - 1


def test_an_exact_entry_that_is_corrupt_leaves_the_search() -> None:
    """If the exact entry is corrupt, a similar one may still answer."""
    response, _ = drive(answer(plan(), REQUEST), {Recall: exactly(payload=b"garbage"), Search: [near()]})
    assert response == "cached"


def test_a_text_without_an_embedding_matches_exactly_only() -> None:
    """A text without an embedding is not searched for, and stored without a vector."""
    response, effects = drive(answer(plan(), REQUEST), {Embed: None})
    assert response == "fresh"
    assert Search not in steps(effects)
    assert put(effects).entry.vector is None


EXACT_QUERY = REQUEST.query(EXACT_MODEL.model_id)


@pytest.mark.parametrize("reuse", [True, False])
def test_exact_matching_asks_for_no_model_and_no_vector(reuse: bool) -> None:
    """With ``threshold="exact"`` a call recalls, calls and stores, under a key of its own."""
    response, effects = drive(answer(plan(threshold="exact"), REQUEST, reuse=reuse))
    assert response == "fresh"
    assert steps(effects) == [Recall, Call, Emit, Put, Emit]
    stored = put(effects).entry
    assert (stored.key, stored.partition, stored.vector) == (EXACT_QUERY.key, EXACT_QUERY.partition, None)
    assert stored.key != QUERY.key
    assert stored.partition != QUERY.partition


def test_an_exact_hit_asks_the_storage_alone() -> None:
    """With ``threshold="exact"`` a hit is one look at the storage."""
    found = exactly(key=EXACT_QUERY.key, partition=EXACT_QUERY.partition)
    response, effects = drive(answer(plan(threshold="exact"), REQUEST), {Recall: found})
    assert response == "cached"
    assert steps(effects) == [Recall, Emit]


def test_a_refresh_calls_whatever_is_stored() -> None:
    """A refresh asks neither tier and stores the new answer in the place of the old."""
    response, effects = drive(answer(plan(), REQUEST, reuse=False), {Recall: exactly(), Search: [near()]})
    assert response == "fresh"
    assert Search not in steps(effects)
    assert put(effects).entry.key == QUERY.key
    assert put(effects).entry.vector is VECTOR


@pytest.mark.parametrize(
    ("store_if", "response", "kept"),
    [
        (is_complete, "fresh", True),
        (is_complete, None, False),
        (is_complete, "", False),
        (is_complete, 0, True),
        (lambda response: True, None, True),
        (lambda response: False, "fresh", False),
        (lambda response: 0, "fresh", False),
        (lambda response: response == "fresh", "fresh", True),
    ],
)
def test_what_is_kept_is_the_users_choice(store_if: Any, response: object, kept: bool) -> None:
    """`store_if` decides what is stored; the default keeps what is complete."""
    returned, effects = drive(answer(plan(store_if=store_if), REQUEST), {Call: Called(response, 0.0)})
    assert returned is response
    assert (Put in steps(effects)) is kept
    assert not [event for event in emitted(effects) if isinstance(event, Failure)]


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
    """If an answer cannot be stored, the call is a miss, and the failure is counted by its stage."""
    expected = replies.get(Call, REPLIES[Call]).response
    response, effects = drive(answer(plan(**changes), REQUEST), replies)
    assert response is expected
    assert [type(event) for event in outcomes(effects)] == [Miss]
    (failure,) = [event for event in emitted(effects) if isinstance(event, Failure)]
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
    """A stream reaches the caller whole, and the call counts as a bypass."""
    stream = (chunk for chunk in ["a", "b"])
    response, effects = drive(answer(plan(store_if=list), REQUEST), {Call: Called(stream, 0.0)})
    assert response is stream
    assert outcomes(effects) == [Bypass("stream")]
    assert Put not in steps(effects)
    assert list(stream) == ["a", "b"]


@pytest.mark.parametrize("effect", [LoadModel, Recall, Embed, Search, Call, Put])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_the_program_passes(effect: type, error: type[BaseException]) -> None:
    """An interrupt or a cancellation passes through the flow, wherever it comes from."""
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
    """A bypass asks neither the model nor the storage."""
    response, effects = drive(bypass(reason))
    assert response == "fresh"
    assert emitted(effects) == expected
    assert set(steps(effects)) == {Emit, Call}


troubles = st.sampled_from([DOWN, ODD, TimeoutError(), None, "garbage", [None]])
troubled_replies = st.fixed_dictionaries(
    {},
    optional={
        LoadModel: troubles,
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


@given(
    troubled_replies,
    st.sampled_from([(), (refuses,), (raises,)]),
    st.sampled_from([is_complete, raises, bool]),
    st.booleans(),
)
def test_whatever_fails_the_caller_gets_an_answer(replies: Any, guards: Any, store_if: Any, reuse: bool) -> None:
    """Whatever fails, the caller gets a hit or the function's own object, and the call is counted once."""
    response, effects = drive(answer(plan(guards=guards, store_if=store_if), REQUEST, reuse=reuse), replies)
    (outcome,) = outcomes(effects)
    if isinstance(outcome, Hit):
        assert response == "cached"
        assert Call not in steps(effects)
        assert outcome.candidate.entry.partition == QUERY.partition
        assert outcome.candidate.similarity >= 0.9
    else:
        assert response is replies.get(Call, REPLIES[Call]).response
        assert steps(effects).count(Call) == 1


async def later(*_: object) -> bool:
    """Agree, later."""
    return True


class Undecided:
    """A verdict without a truth."""

    def __bool__(self) -> bool:
        raise ZeroDivisionError


def declines(response: object) -> bool:
    """Want nothing that was stored."""
    return response != "cached"


UNWANTED: list[tuple[Any, type[Exception] | None]] = [
    (declines, None),
    (lambda response: 0 if response == "cached" else 1, None),
    (lambda response: raises() if response == "cached" else True, ZeroDivisionError),
    (lambda response: later() if response == "cached" else True, TypeError),
    (lambda response: Undecided() if response == "cached" else True, ZeroDivisionError),
]


@pytest.mark.parametrize(
    "found",
    [{Search: [near()]}, {Recall: exactly(), Search: [exactly().candidate]}, {Recall: exactly(), Embed: None}],
    ids=["similar", "exact", "exact only"],
)
@pytest.mark.parametrize(("store_if", "error"), UNWANTED)
def test_a_stored_answer_that_store_if_refuses_now_is_a_miss(
    store_if: Any, error: type[Exception] | None, found: dict[type, Any]
) -> None:
    """An unwanted answer, exact or similar, is not served, and the new one is stored; doubt counts as an error."""
    response, effects = drive(answer(plan(store_if=store_if), REQUEST), found)
    assert response == "fresh"
    (missed,) = outcomes(effects)
    assert isinstance(missed, Miss)
    assert missed.reason == "unwanted"
    assert missed.nearest is not None
    assert missed.nearest.refused_by == "store_if"
    (refusal,) = [event for event in emitted(effects) if isinstance(event, Veto | Failure)]
    if error is None:
        assert refusal == Veto("store_if")
    else:
        assert isinstance(refusal, Failure)
        assert (refusal.stage, type(refusal.error)) == ("store_if", error)
    assert put(effects).entry.key == QUERY.key


def test_the_very_prompts_unwanted_answer_is_asked_about_once() -> None:
    """What the exact look-up found unwanted is passed over in the search, where a wanted answer may serve."""
    found = {Recall: exactly(), Search: [Candidate(entry(), 1.0, 1.0), near(response="wanted")]}
    response, effects = drive(answer(plan(store_if=declines), REQUEST), found)
    assert response == "wanted"
    assert [event for event in emitted(effects) if isinstance(event, Veto)] == [Veto("store_if")]
    assert Call not in steps(effects)


def test_a_verifier_is_not_asked_about_an_unwanted_answer() -> None:
    """`store_if` costs less than a verifier, and goes first."""
    _, effects = drive(answer(plan(store_if=declines, verifier=raises), REQUEST), {Search: [near()]})
    assert Verify not in steps(effects)


def test_an_unwanted_answer_that_another_call_made_is_computed_again() -> None:
    """A call that waited for another call's answer, and does not want it, calls for itself."""
    replies = {Recall: InTurn([NOTHING, exactly(), exactly()]), Coalesce: InTurn(["waited", "leading"])}
    response, effects = drive(answer(plan(store_if=declines, coalesce=True), REQUEST), replies)
    assert response == "fresh"
    assert Coalesced() not in emitted(effects)


def test_an_unwanted_answer_does_not_stand_in_if_the_function_fails() -> None:
    """An expired answer that `store_if` refuses is not served; the function's exception reaches the caller."""
    expired = Recalled(Candidate(entry(fresh_for=0.5), 1.0, 1.0), epoch=7)
    replies = {Recall: expired, Search: [expired.candidate], Call: AsResult(DOWN)}
    with pytest.raises(ConnectionError, match="down"):
        drive(answer(plan(store_if=declines, stale_seconds=60.0), REQUEST), replies)


@pytest.mark.parametrize(("verdict", "error"), [(later, TypeError), (lambda _: Undecided(), ZeroDivisionError)])
def test_what_is_no_verdict_keeps_nothing(verdict: Any, error: type[Exception]) -> None:
    """A verdict of `store_if` that has yet to be awaited, or has no truth, is counted, and nothing is stored."""
    response, effects = drive(answer(plan(store_if=verdict), REQUEST))
    assert response == "fresh"
    (failure,) = [event for event in emitted(effects) if isinstance(event, Failure)]
    assert (failure.stage, type(failure.error)) == ("store_if", error)
    assert Put not in steps(effects)


def verified(reply: Any) -> tuple[Any, list[Effect]]:
    """Return what a call gets whose one candidate a verifier judges."""
    return drive(answer(plan(verifier=raises), REQUEST), {Search: [near()], Verify: reply})


def test_a_verifier_is_asked_last_about_the_similar_answer() -> None:
    """A verifier gets both prompts and the response, and what it agrees to is served."""
    response, effects = verified(True)
    assert response == "cached"
    assert [effect for effect in effects if isinstance(effect, Verify)] == [
        Verify(raises, "question", "reworded", "cached")
    ]
    assert Call not in steps(effects)


@pytest.mark.parametrize(
    ("reply", "counted"),
    [(False, Veto("verify")), (0, Veto("verify")), (ODD, Failure("verify", ODD)), (Undecided(), "verify")],
)
def test_what_a_verifier_does_not_agree_to_is_a_miss(reply: Any, counted: object) -> None:
    """A verifier's refusal is a veto and its failure an error; both are misses, and the new answer is stored."""
    response, effects = verified(reply)
    assert response == "fresh"
    (missed,) = outcomes(effects)
    assert isinstance(missed, Miss)
    assert missed.reason == "refused"
    (refusal,) = [event for event in emitted(effects) if isinstance(event, Veto | Failure)]
    assert (refusal.stage if counted == "verify" and isinstance(refusal, Failure) else refusal) == counted
    assert put(effects).entry.payload == CODEC.encode("fresh")


def test_a_verifier_is_not_asked_about_the_very_prompt() -> None:
    """A verifier is asked neither about the very prompt nor about what a guard refuses."""
    cases: list[tuple[dict[str, Any], dict[type, Any]]] = [
        ({}, {Recall: exactly()}),
        ({"guards": (refuses,)}, {Search: [near()]}),
    ]
    for changes, replies in cases:
        _, effects = drive(answer(plan(verifier=refuses, **changes), REQUEST), replies)
        assert Verify not in steps(effects)


@pytest.mark.parametrize(
    ("roles", "recalls", "response", "taken"),
    [
        (["leading"], [NOTHING, NOTHING], "fresh", [LoadModel, Recall, Coalesce, Recall, Embed, Search, Call, Put]),
        (["alone"], [NOTHING, NOTHING], "fresh", [LoadModel, Recall, Coalesce, Recall, Embed, Search, Call, Put]),
        (
            [TimeoutError()],
            [NOTHING, NOTHING],
            "fresh",
            [LoadModel, Recall, Coalesce, Recall, Embed, Search, Call, Put],
        ),
        (["leading"], [NOTHING, exactly()], "cached", [LoadModel, Recall, Coalesce, Recall]),
        (["waited"], [NOTHING, exactly()], "cached", [LoadModel, Recall, Coalesce, Recall]),
        (
            ["waited", "waited", "leading"],
            [NOTHING, NOTHING, NOTHING, exactly()],
            "cached",
            [LoadModel, Recall, Coalesce, Recall, Coalesce, Recall, Coalesce, Recall],
        ),
    ],
)
def test_a_call_that_finds_nothing_takes_its_turn(
    roles: list[Any], recalls: list[Recalled], response: str, taken: list[type]
) -> None:
    """A call that waited looks again, and so does one that leads: the leader before may just have ended."""
    replies = {Coalesce: InTurn(roles), Recall: InTurn(recalls)}
    got, effects = drive(answer(plan(coalesce=True), REQUEST), replies)
    assert got == response
    assert [step for step in steps(effects) if step is not Emit] == taken
    waited = roles == ["waited"]
    assert [event for event in emitted(effects) if isinstance(event, Coalesced)] == [Coalesced()] * waited
    asked = [effect for effect in effects if isinstance(effect, Coalesce | Recall)]
    assert {effect.key for effect in asked} == {QUERY.key}
    assert {effect.namespace for effect in asked if isinstance(effect, Recall)} == {"n"}


def test_what_was_found_along_with_the_key_is_not_searched_for_again() -> None:
    """Candidates that came with the exact look-up are judged as those of a search, even if there are none."""
    response, effects = drive(answer(plan(), REQUEST), {Recall: Recalled(None, 7, [near()])})
    assert response == "cached"
    assert steps(effects) == [LoadModel, Recall, Embed, Emit]
    response, effects = drive(answer(plan(), REQUEST), {Recall: Recalled(None, 7, [near(similarity=0.8)])})
    assert response == "fresh"
    assert Search not in steps(effects)
    _, effects = drive(answer(plan(), REQUEST), {Recall: Recalled(None, 7, [])})
    assert Search not in steps(effects)


@pytest.mark.parametrize(
    ("changes", "options", "beside"),
    [
        ({}, {}, Beside("question", "model", QUERY.partition, 0.9, CANDIDATES)),
        ({}, {"recorded": True}, Beside("question", "model", QUERY.partition, RECORDED_FLOOR, CANDIDATES)),
        ({"threshold": "exact"}, {}, None),
        ({}, {"reuse": False}, None),
    ],
)
def test_a_look_up_says_what_else_will_be_looked_for(
    changes: dict[str, Any], options: dict[str, Any], beside: Beside | None
) -> None:
    """An exact look-up carries what the search after it will ask for, if one may follow."""
    _, effects = drive(answer(plan(**changes), REQUEST, **options))
    (recall,) = [effect for effect in effects if isinstance(effect, Recall)]
    assert (recall.beside and recall.beside()) == beside
    searches = [effect for effect in effects if isinstance(effect, Search)]
    assert [(each.partition, each.threshold, each.limit) for each in searches] == ([beside[2:]] if beside else [])


def test_the_first_call_does_not_look_again() -> None:
    """A call that leads, where no other has led since it began, looks once: nobody can have stored the answer since."""
    got, effects = drive(answer(plan(coalesce=True), REQUEST), {Coalesce: "first"})
    assert got == "fresh"
    expected = [LoadModel, Recall, Coalesce, Embed, Search, Call, Put]
    assert [step for step in steps(effects) if step is not Emit] == expected


def test_the_epoch_is_that_of_the_last_look() -> None:
    """An answer is stored under the epoch of the last look, after any wait."""
    recalls = [NOTHING, Recalled(None, epoch=8)]
    _, effects = drive(answer(plan(coalesce=True), REQUEST), {Coalesce: "leading", Recall: InTurn(recalls)})
    assert put(effects).epoch == 8


def test_an_entry_that_has_expired_is_looked_at_once_by_whoever_leads() -> None:
    """A leading call that saw an expired entry does not look again; only one that waited does."""
    expired = exactly(fresh_for=0.5)
    _, effects = drive(answer(plan(coalesce=True), REQUEST), {Coalesce: "leading", Recall: expired})
    assert steps(effects).count(Recall) == 1
    assert put(effects).epoch == 7


@pytest.mark.parametrize(("coalesce", "reuse"), [(False, True), (True, False), (False, False)])
def test_calls_that_share_nothing_take_no_turn(coalesce: bool, reuse: bool) -> None:
    """A refresh, and a call with ``coalesce=False``, wait for nobody."""
    _, effects = drive(answer(plan(coalesce=coalesce), REQUEST, reuse=reuse))
    assert Coalesce not in steps(effects)


@pytest.mark.parametrize(
    ("replies", "reuse", "expected"),
    [
        ({Embed: None}, True, Miss("exact_only", QUERY, 7, None)),
        ({}, False, Miss("refresh", QUERY, 7, VECTOR)),
        ({Embed: None}, False, Miss("refresh", QUERY, 7, None)),
        ({}, True, Miss("unlike", QUERY, 7, VECTOR)),
        ({Embed: ODD}, True, Miss("odd_vector", QUERY, 0, storable=False)),
    ],
)
def test_a_miss_tells_why_and_is_counted_where_the_function_fails(
    replies: dict[type, Any], reuse: bool, expected: Miss
) -> None:
    """A miss has its reason, and goes along with the call, to be counted if the function raises."""
    _, effects = drive(answer(plan(), REQUEST, reuse=reuse), replies)
    (missed,) = outcomes(effects)
    assert isinstance(missed, Miss)
    (call,) = [effect for effect in effects if isinstance(effect, Call)]
    assert call.otherwise is missed
    assert not call.allow_stale
    assert missed.vector is expected.vector
    assert (missed.reason, missed.query, missed.epoch) == (expected.reason, expected.query, expected.epoch)
    assert (missed.storable, missed.stale) == (expected.storable, None)


def compared(found: list[Candidate], *, recorded: bool = True, **changes: Any) -> tuple[list[Event], float]:
    """Return the comparisons that a look-up emits, and the cosine that it searches from."""
    _, effects = drive(answer(plan(**changes), REQUEST, recorded=recorded), {Search: found, Verify: False})
    (search,) = [effect for effect in effects if isinstance(effect, Search)]
    assert search.limit == CANDIDATES
    return [event for event in emitted(effects) if isinstance(event, Compared)], search.threshold


@pytest.mark.parametrize(
    ("found", "changes", "expected"),
    [
        ([], {}, None),
        ([near()], {}, Compared("question", "reworded", 0.95, "hit")),
        ([near(similarity=0.75)], {}, Compared("question", "reworded", 0.75, "miss")),
        ([near("far", 0.71), near("less far", 0.8)], {}, Compared("question", "less far", 0.8, "miss")),
        ([near()], {"guards": (refuses,)}, Compared("question", "reworded", 0.95, "miss", "refuses")),
        ([near()], {"verifier": refuses}, Compared("question", "reworded", 0.95, "miss", "verify")),
        ([near(payload=b"?")], {"verifier": refuses}, Compared("question", "reworded", 0.95, "miss")),
        ([near(payload=b"?")], {}, Compared("question", "reworded", 0.95, "miss")),
        ([near("theirs", partition="other"), near("ours", 0.8)], {}, Compared("question", "ours", 0.8, "miss")),
        ([near("odd", float("nan")), near("ours", 0.8)], {}, Compared("question", "ours", 0.8, "miss")),
        ([near("theirs", partition="other")], {}, None),
    ],
)
def test_a_look_up_that_is_recorded_tells_what_it_compared(
    found: list[Candidate], changes: dict[str, Any], expected: Compared | None
) -> None:
    """A recorded look-up reports what was served, else the nearest candidate, from below the threshold too."""
    events, floor = compared(found, **changes)
    assert events == ([] if expected is None else [expected])
    assert floor == 0.7


def test_a_look_up_that_is_not_recorded_asks_for_the_threshold_and_tells_nothing() -> None:
    """A look-up that is not recorded searches from the threshold on and reports no comparison."""
    assert compared([near()], recorded=False) == ([], 0.9)
    assert compared([near()], threshold=0.6)[1] == 0.6


def test_a_recorded_hit_is_told_with_the_candidate_that_served() -> None:
    """A recorded hit reports the candidate that served, not a better one that a guard refused."""
    guard = lambda prompt, cached_prompt: cached_prompt != "vetoed"  # noqa: E731  # a guard as users write them
    events, _ = compared([near("vetoed", 0.99), near("good", 0.93)], guards=(guard,))
    assert events == [Compared("question", "good", 0.93, "hit")]


def test_an_expired_answer_stands_in_where_the_function_fails() -> None:
    """If the function raises, the most similar expired answer that guards allow is served, unless it is corrupt."""
    expired: dict[str, Any] = {"fresh_for": 0.5}
    similar = near(**expired)
    cases: list[dict[type, Any]] = [
        {Recall: InTurn([exactly(**expired)] * 2)},
        {Recall: InTurn([NOTHING, Recalled(similar, 7)]), Search: [similar]},
    ]
    for replies in cases:
        error = ConnectionError()
        response, effects = drive(answer(plan(stale_seconds=9.0), REQUEST), {**replies, Call: AsResult(error)})
        assert response == "cached"
        assert ServedStale() in emitted(effects)
        (call,) = [effect for effect in effects if isinstance(effect, Call)]
        assert call.allow_stale
    with pytest.raises(ConnectionError):
        drive(
            answer(plan(stale_seconds=9.0), REQUEST),
            {Recall: exactly(payload=b"garbage", **expired), Call: AsResult(ConnectionError())},
        )


@pytest.mark.parametrize(
    "by_then",
    [NOTHING, DOWN, exactly(fresh_for=0.5, age=60.0), exactly(fresh_for=0.5, prompt="another"), exactly(fresh_for="5")],
    ids=["removed", "storage away", "too old", "replaced", "odd"],
)
def test_an_expired_answer_is_looked_at_again_before_it_stands_in(by_then: Any) -> None:
    """An expired answer that was removed, or grew too old, while the function ran is not served."""
    replies = {Recall: InTurn([exactly(fresh_for=0.5), by_then]), Call: AsResult(DOWN)}
    with pytest.raises(ConnectionError, match="down"):
        drive(answer(plan(stale_seconds=9.0), REQUEST), replies)


@pytest.mark.parametrize(("stale_seconds", "served"), [(None, False), (0.4, False), (9.0, True)])
def test_an_expired_answer_stands_in_for_who_asks_for_it(stale_seconds: float | None, served: bool) -> None:
    """Whether an expired answer may be served is up to the function that reads it, not to the one that stored it."""
    replies = {Recall: exactly(fresh_for=0.5), Call: AsResult(DOWN) if served else Called("fresh", 0.3)}
    _, effects = drive(answer(plan(stale_seconds=stale_seconds), REQUEST), replies)
    assert (ServedStale() in emitted(effects)) is served
    assert [effect.allow_stale for effect in effects if isinstance(effect, Call)] == [served]


@pytest.mark.parametrize("trouble", [TimeoutError(), BusyError(), CircuitOpenError()])
def test_a_verifier_without_time_left_is_asked_about_no_further_candidate(trouble: Exception) -> None:
    """Once the verifier is late, or is left alone, the call is a miss; it is not asked sixteen times."""
    candidates = [near(f"reworded {number}") for number in range(16)]
    _, effects = drive(answer(plan(verifier=accepts), REQUEST), {Search: candidates, Verify: trouble})
    assert steps(effects).count(Verify) == 1
    (miss,) = [event for event in emitted(effects) if isinstance(event, Miss)]
    assert miss.reason == "refused"


class PanicException(BaseException):
    """What an extension written in Rust raises when it panics."""


@pytest.mark.parametrize("error", [PanicException(), CancelledError()])
@pytest.mark.parametrize("part", ["guard", "store_if", "decode", "encode"])
def test_a_panic_in_a_part_is_doubt(part: str, error: BaseException) -> None:
    """An exception that is no `Exception`, and that only ends foreign code, is counted and kept from the caller."""

    def panics(*_: object) -> Any:
        raise error

    plans = {
        "guard": lambda: plan(guards=(panics,)),
        "store_if": lambda: plan(store_if=panics),
        "decode": lambda: plan(codec=SimpleNamespace(decode=panics, encode=plan().codec.encode)),
        "encode": lambda: plan(codec=SimpleNamespace(encode=panics)),
    }
    found: dict[type, Any] = {} if part in ("store_if", "encode") else {Search: [near()]}
    response, effects = drive(answer(plans[part](), REQUEST), found)
    assert response == "fresh"
    assert any(isinstance(event, Failure) for event in emitted(effects))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_what_ends_the_program_passes_by_the_flow(error: BaseException) -> None:
    """What is raised to end the program, or the thread, in the midst of a part reaches the caller."""

    def interrupted(*_: object) -> bool:
        raise error

    with pytest.raises(type(error)):
        drive(answer(plan(guards=(interrupted,)), REQUEST), {Search: [near()]})


ODD_REPLIES: dict[str, Callable[[], dict[type, Any]]] = {
    "no age": lambda: {Recall: Recalled(Candidate(entry(fresh_for=5.0), 1.0, None), 7), Embed: None},  # type: ignore[arg-type]
    "no candidates": lambda: {Search: 5},
    "read once": lambda: {Search: iter([near()])},
}


@pytest.mark.parametrize(("odd", "reason"), [("no age", "storage"), ("no candidates", "storage"), ("read once", None)])
def test_whatever_a_storage_returns_is_judged_within_the_flow(odd: str, reason: str | None) -> None:
    """What a storage returns is read once, and trouble with it is a bypass wherever it shows."""
    response, effects = drive(answer(plan(), REQUEST), ODD_REPLIES[odd]())
    bypasses = [event.reason for event in emitted(effects) if isinstance(event, Bypass)]
    assert bypasses == ([] if reason is None else [reason])
    assert response == ("fresh" if reason else "cached")


def test_what_is_kept_for_longer_tells_how_long_it_is_served() -> None:
    """An entry kept for the case that the function raises knows how long it is fresh."""
    _, effects = drive(answer(plan(stale_seconds=9.0), REQUEST))
    assert (put(effects).ttl, put(effects).entry.fresh_for) == (69.0, 60.0)
    _, effects = drive(answer(plan(), REQUEST))
    assert (put(effects).ttl, put(effects).entry.fresh_for) == (60.0, None)
    forever = REQUEST._replace(ttl=None)
    _, effects = drive(answer(plan(stale_seconds=9.0), forever))
    assert (put(effects).ttl, put(effects).entry.fresh_for) == (None, None)


class Pending(Awaitable[str]):
    """A response that has yet to be awaited."""

    def __await__(self) -> Generator[Any, Any, str]:
        """Give the answer."""
        yield
        return "an answer"


@pytest.mark.parametrize(
    ("response", "told"),
    [
        ((chunk for chunk in "ab"), ("stream", "generator", "return the whole answer")),
        (Pending(), ("awaitable", "Pending", "pass mode='async' if it is to be awaited")),
    ],
    ids=["stream", "awaitable"],
)
def test_what_is_not_kept_is_told_with_its_type_and_a_remedy(response: Any, told: tuple[str, str, str]) -> None:
    """The bypass of a response that reading would consume says what it is, and what to do."""
    _, effects = drive(answer(plan(), REQUEST), {Call: Called(response, 0.0)})
    (event,) = outcomes(effects)
    assert isinstance(event, Bypass)
    assert (event.reason, event.detail, event.remedy) == told


@pytest.mark.parametrize(
    ("recalled", "changes", "reason", "nearest", "is_kept_for_failure"),
    [
        (NOTHING, {}, "exact_only", None, False),
        (exactly(fresh_for=0.5), {}, "exact_only", None, False),
        (exactly(fresh_for=0.5), {"stale_seconds": 9.0}, "exact_only", None, True),
        (exactly(), {"store_if": declines}, "unwanted", "store_if", False),
        (exactly(prompt="another"), {"stale_seconds": 9.0}, "exact_only", None, False),
    ],
    ids=["nothing", "expired", "expired, kept for failures", "unwanted", "another prompt's"],
)
def test_a_miss_of_a_prompt_that_matches_exactly_only(
    recalled: Recalled, changes: dict[str, Any], reason: str, nearest: str | None, is_kept_for_failure: bool
) -> None:
    """Such a miss tells why, is stored under the epoch that was seen, and names who refused its own answer."""
    _, effects = drive(answer(plan(**changes), REQUEST), {Recall: recalled, Embed: None})
    (miss,) = outcomes(effects)
    assert isinstance(miss, Miss)
    assert (miss.reason, miss.epoch, miss.stale is not None) == (reason, 7, is_kept_for_failure)
    if nearest is not None:
        assert miss.nearest is not None
        assert (miss.nearest.candidate, miss.nearest.refused_by) == (recalled.candidate, nearest)


def test_a_call_that_waits_too_long_looks_once_more_and_goes_on() -> None:
    """If the call that computes the answer takes too long, this one looks again, does not wait again, and calls."""
    response, effects = drive(answer(plan(coalesce=True), REQUEST), {Coalesce: TimeoutError()})
    assert response == "fresh"
    assert steps(effects).count(Coalesce) == 1
    assert steps(effects).count(Recall) == 2


@pytest.mark.parametrize("similar", [False, True])
def test_a_verifier_is_asked_about_an_expired_answer_to_another_prompt(similar: bool) -> None:
    """Before an expired answer stands in, the verifier is asked, unless it is the very prompt's own."""
    own, other = exactly(fresh_for=0.5), near(fresh_for=0.5)
    found: dict[type, Any] = {Recall: own}
    if similar:
        found = {Recall: InTurn([NOTHING, Recalled(other, 7)]), Search: [other]}
    replies = {**found, Call: AsResult(DOWN), Verify: True}
    response, effects = drive(answer(plan(stale_seconds=9.0, verifier=accepts), REQUEST), replies)
    assert response == "cached"
    assert steps(effects).count(Verify) == similar
    assert [effect.prompt for effect in effects if isinstance(effect, Verify)] == ["question"] * similar


@pytest.mark.parametrize(("trouble", "told"), [(DOWN, [Failure("storage", DOWN)]), (CircuitOpenError(), [])])
def test_trouble_with_the_second_look_at_an_expired_answer_is_told(trouble: Exception, told: list[Failure]) -> None:
    """A storage that fails after the function did is counted, unless it is being left alone."""
    replies = {Recall: InTurn([exactly(fresh_for=0.5), trouble]), Call: AsResult(ConnectionError("mine"))}
    effects: list[Effect] = []

    def reply(effect: Effect) -> Any:
        effects.append(effect)
        return by_type({**REPLIES, **replies})(effect)

    with pytest.raises(ConnectionError, match="mine"):
        driving.drive(answer(plan(stale_seconds=9.0), REQUEST), reply)
    assert [event for event in emitted(effects) if isinstance(event, Failure)] == told


@pytest.mark.parametrize("returned", [None, "kept", Stored(True, "none")])  # type: ignore[arg-type]
def test_a_put_that_returns_something_else_is_trouble(returned: Any) -> None:
    """What a storage returns of a put is checked, and the message names its type."""
    _, effects = drive(answer(plan(), REQUEST), {Put: returned})
    (failure,) = [event for event in emitted(effects) if isinstance(event, Failure)]
    assert failure.stage == "storage"
    assert type(returned).__name__ in str(failure.error)


@pytest.mark.parametrize(
    ("replies", "stage", "detail"),
    [
        ({LoadModel: DOWN}, "model", repr(DOWN)),
        ({Recall: DOWN}, "storage", repr(DOWN)),
        ({Recall: CircuitOpenError("left alone")}, "storage", "left alone"),
        ({Embed: DOWN}, "embedding", repr(DOWN)),
        ({Search: CircuitOpenError("left alone")}, "storage", "left alone"),
    ],
)
def test_a_bypass_tells_what_is_behind_it(replies: dict[type, Any], stage: str, detail: str) -> None:
    """The bypass of a part in trouble carries its stage and the exception, for who asks why."""
    _, effects = drive(answer(plan(), REQUEST), replies)
    (event,) = outcomes(effects)
    assert isinstance(event, Bypass)
    assert (event.reason, event.detail) == (stage, detail)


def test_an_answer_to_what_has_changed_meanwhile_is_not_stored() -> None:
    """If the call asks for something else by the time the function is called, the miss says so, and nothing is put."""
    response, effects = drive(answer(plan(), REQUEST), {Call: Called("fresh", 0.3, as_read=False)})
    (miss,) = outcomes(effects)
    assert isinstance(miss, Miss)
    assert (response, miss.reason, miss.storable) == ("fresh", "changed", False)
    assert Put not in steps(effects)


@pytest.mark.parametrize("trouble", [TimeoutError(), BusyError()])
def test_a_large_answer_that_is_not_decoded_in_time_is_a_miss(trouble: Exception) -> None:
    """Once there is no time to decode an answer, no other one is tried, and the miss says that none could be read."""
    candidates = [near("reworded", payload=CODEC.encode(LARGE)), near("other words")]
    _, effects = drive(answer(plan(), REQUEST), {Search: candidates, Decode: trouble})
    (miss,) = outcomes(effects)
    assert isinstance(miss, Miss)
    assert miss.reason == "corrupt"
    assert [event for event in emitted(effects) if isinstance(event, Failure)] == [Failure("codec", trouble)]


PROMPT = standalone(str)
INSTEAD = Request("question", "n", b"without the history", 60.0)
TO_REWRITE = REQUEST._replace(rewriting=Rewriting(PROMPT, ["messages"], b"digest", INSTEAD))


def test_a_turn_that_is_rewritten_is_looked_up_in_place_of_the_history() -> None:
    """The question that stands alone is what is looked up, embedded and stored, unless the conversation is reported."""
    _, effects = drive(answer(plan(), TO_REWRITE), {Rewrite: "rewritten"})
    assert steps(effects) == [Rewrite, LoadModel, Recall, Recall, Embed, Search, Call, Emit, Put, Emit]
    assert effects[0] == Rewrite(PROMPT, ["messages"], b"digest")
    assert effects[2] == Recall(QUERY.namespace, QUERY.key)
    assert effects[4] == Embed("rewritten", PREPARED.model_id)
    assert put(effects).entry.partition == INSTEAD.query("model").partition != QUERY.partition


LATE = TimeoutError()


@pytest.mark.parametrize(
    ("reply", "failures"),
    [
        (None, []),
        (DOWN, [Failure("rewrite", DOWN)]),
        (LATE, [Failure("rewrite", LATE)]),
        (CircuitOpenError(), []),
    ],
)
def test_a_turn_that_is_not_rewritten_is_looked_up_with_its_history(reply: Any, failures: list[Failure]) -> None:
    """Whatever goes wrong, the history must be equal; trouble is counted unless it is known."""
    _, effects = drive(answer(plan(), TO_REWRITE), {Rewrite: reply})
    assert put(effects).entry.key == QUERY.key
    assert [event for event in emitted(effects) if isinstance(event, Failure)] == failures


TALK = Request("last", "n", b"exact", 60.0, history=(Turn("user", "first"), Turn("assistant", "reply")))
TALKED = TALK.query("model")


def talked(*texts: str) -> Candidate:
    """Return a conversation as a search may find it; its first turns are other ones than those of `TALK`."""
    prompt = written([Turn("user", texts[0]), Turn("assistant", texts[1])], texts[2])
    return near(prompt, partition=TALKED.partition, key=prompt)


def test_a_conversation_with_an_equal_history_is_served_without_its_turns_embedded() -> None:
    """Only the last turns are compared then."""
    response, effects = drive(answer(plan(), TALK), {Search: [talked("first", "reply", "the last")]})
    assert response == "cached"
    assert EmbedTurns not in steps(effects)


def test_a_conversation_with_a_similar_history_is_served() -> None:
    """The turns that differ are embedded, by the model of the look-up, and what is stored holds the conversation."""
    replies: dict[type, Any] = {
        Search: [talked("at first", "reply", "last")],
        EmbedTurns: {"first": VECTOR, "at first": VECTOR},
    }
    response, effects = drive(answer(plan(), TALK), replies)
    assert response == "cached"
    assert EmbedTurns(("at first", "first"), "model") in effects
    _, effects = drive(answer(plan(), TALK))
    assert put(effects).entry.prompt == written(TALK.history or (), "last") == TALKED.prompt


@pytest.mark.parametrize("error", [DOWN, TimeoutError(), CircuitOpenError()])
def test_turns_that_cannot_be_embedded_make_a_miss(error: Exception) -> None:
    """Trouble leaves the equal history, and the call is no bypass."""
    _, effects = drive(answer(plan(), TALK), {Search: [talked("at first", "reply", "last")], EmbedTurns: error})
    (miss,) = outcomes(effects)
    assert isinstance(miss, Miss)
    assert miss.reason == "vetoed"
    failures = [event for event in emitted(effects) if isinstance(event, Failure)]
    assert failures == ([] if isinstance(error, CircuitOpenError) else [Failure("embedding", error)])
    assert Veto("history") in emitted(effects)


def test_what_is_recorded_of_conversations_is_all_of_them() -> None:
    """Whether two last turns ask the same cannot be judged without what was said before."""
    found = talked("first", "reply", "the last")
    _, effects = drive(answer(plan(), TALK, recorded=True), {Search: [found]})
    (compared,) = [event for event in emitted(effects) if isinstance(event, Compared)]
    assert (compared.prompt, compared.cached_prompt) == (TALKED.prompt, found.entry.prompt)
