"""Decisions: which candidates may serve, whatever a storage returns and a guard does."""

from __future__ import annotations

from asyncio import Future, new_event_loop
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.engine import decision as decision_module
from recallm.engine.decision import Decision, answers, decide, guard_name, is_quick, truth
from recallm.guards.default import DEFAULT_GUARDS
from recallm.records import Candidate, Entry, Query

QUERY = Query("question", "n", "p", "k")


def candidate(prompt: str, similarity: float, *, partition: str = "p", key: str = "other") -> Candidate:
    """Return a candidate as a storage finds it."""
    return Candidate(Entry(key, "n", partition, prompt, None, b""), similarity, 1.0)


def refuses(prompt: str, cached_prompt: str) -> bool:
    """Refuse everything."""
    return False


def allows(prompt: str, cached_prompt: str) -> bool:
    """Allow everything."""
    return True


def raises(prompt: str, cached_prompt: str) -> bool:
    """Fail."""
    raise ZeroDivisionError


class Nameless:
    """A guard that is an object."""

    def __call__(self, prompt: Any, cached_prompt: Any) -> Any:
        """Refuse everything."""
        return False


similarities = st.floats(-1.0, 1.0) | st.sampled_from([0.92, 1.0, float("nan"), float("inf"), -float("inf")])
found = st.lists(
    st.builds(candidate, st.sampled_from(["a", "b 1", "c 2"]), similarities, partition=st.sampled_from(["p", "q"])),
    max_size=6,
)
thresholds = st.floats(0.0, 1.0) | st.sampled_from([0.92, 1.0])


@given(
    found, thresholds, thresholds, st.sampled_from([(), (refuses,), (raises,), (lambda one, other: "1" not in other,)])
)
def test_raising_the_threshold_never_adds_a_hit(candidates: Any, one: float, other: float, guards: Any) -> None:
    """A candidate that serves at a threshold serves at every lower one."""
    low, high = sorted([one, other])
    loose = decide(QUERY, candidates, low, guards).served
    assert all(served in loose for served in decide(QUERY, candidates, high, guards).served)


@given(found, thresholds)
def test_what_serves_is_near_ours_and_sorted(candidates: list[Candidate], threshold: float) -> None:
    """Of what a storage returns, finite cosines at the threshold and of the query's partition serve, best first."""
    served = decide(QUERY, candidates, threshold, ()).served
    expected = [
        each for each in candidates if threshold <= each.similarity < float("inf") and each.entry.partition == "p"
    ]
    assert sorted(map(id, served)) == sorted(map(id, expected))
    assert [each.similarity for each in served] == sorted((each.similarity for each in served), reverse=True)


@pytest.mark.parametrize(
    ("similarity", "partition", "serves"),
    [
        (0.92, "p", True),
        (0.9199999, "p", False),
        (1.0, "p", True),
        (1.0000001, "p", True),
        (float("nan"), "p", False),
        (float("inf"), "p", False),
        (1.0, "q", False),
        (1.0, "P", False),
    ],
)
def test_the_threshold_is_reached_by_what_equals_it(similarity: float, partition: str, serves: bool) -> None:
    """A similarity equal to the threshold serves; a lower one, another partition's, and what is no cosine do not."""
    assert bool(decide(QUERY, [candidate("a", similarity, partition=partition)], 0.92, ()).served) is serves


def test_guards_are_asked_in_order_until_one_refuses() -> None:
    """Guards are asked in order about candidates at the threshold, prompt first, and not after a refusal."""
    asked: list[tuple[str, str, str]] = []

    def first(prompt: str, cached_prompt: str) -> bool:
        asked.append(("first", prompt, cached_prompt))
        return cached_prompt != "near"

    def second(prompt: str, cached_prompt: str) -> bool:
        asked.append(("second", prompt, cached_prompt))
        return True

    near, nearer, far = candidate("near", 0.95), candidate("nearer", 0.97), candidate("far", 0.5)
    decision = decide(QUERY, [far, near, nearer], 0.9, (first, second))
    assert decision.served == (nearer,)
    assert decision.refusals == ((near, "first"),)
    assert asked == [("first", "question", "nearer"), ("second", "question", "nearer"), ("first", "question", "near")]


def test_no_guard_is_asked_once_enough_candidates_may_serve() -> None:
    """The candidates after as many as are enough are left unjudged, best first, and not asked about."""
    first, second, third, fourth = (candidate(name, 0.99 - at / 100) for at, name in enumerate("abcd"))
    asked: list[str] = []

    def guard(_prompt: str, cached_prompt: str) -> bool:
        asked.append(cached_prompt)
        return cached_prompt != "a"

    decision = decide(QUERY, [fourth, third, second, first, candidate("far", 0.5)], 0.9, (guard,), enough=1)
    assert decision == Decision((second,), ((first, "guard"),), unjudged=(third, fourth))
    assert asked == ["a", "b"]


def test_a_guard_that_raises_refuses() -> None:
    """A guard that raises refuses under its name, and its exception is kept."""
    near = candidate("near", 1.0)
    decision = decide(QUERY, [near], 0.9, (allows, raises))
    assert (decision.served, decision.refusals) == ((), ((near, "raises"),))
    assert [type(doubt) for doubt in decision.doubts] == [ZeroDivisionError]


@pytest.mark.parametrize(("verdict", "serves"), [(None, False), (0, False), ("", False), (1, True), ("yes", True)])
def test_a_verdict_counts_by_its_truth(verdict: Any, serves: bool) -> None:
    """A verdict counts by its truth value: a guard that forgets to return refuses."""
    assert bool(decide(QUERY, [candidate("a", 1.0)], 0.9, (lambda one, other: verdict,)).served) is serves


async def later() -> bool:
    """Agree, later."""
    return True


class Undecided:
    """A verdict without a truth."""

    def __bool__(self) -> bool:
        raise ZeroDivisionError


@pytest.mark.parametrize(("verdict", "error"), [(later, TypeError), (Undecided, ZeroDivisionError)])
def test_a_verdict_that_is_none_refuses(verdict: Any, error: type[Exception]) -> None:
    """A guard whose verdict has yet to be awaited, or has no truth, refuses, and that is a doubt; nothing warns."""
    decision = decide(QUERY, [candidate("a", 1.0)], 0.9, (lambda *_: verdict(),))
    assert not decision.served
    assert [type(doubt) for doubt in decision.doubts] == [error]


def test_a_coroutine_for_a_verdict_is_closed() -> None:
    """A coroutine that nothing will await is closed; anything else that can be awaited is left as it is."""
    coroutine = later()
    with pytest.raises(TypeError, match="a verdict is a coroutine, which nothing awaits; return a bool"):
        truth(coroutine)
    with pytest.raises(RuntimeError, match="cannot reuse already awaited"):
        coroutine.send(None)
    future: Future[bool] = Future(loop=new_event_loop())
    with pytest.raises(TypeError, match="Future"):
        truth(future)
    assert not future.done()
    future.get_loop().close()


def test_guards_are_not_asked_about_the_very_same_prompt() -> None:
    """Guards are not asked whether a prompt contradicts itself."""
    assert decide(QUERY, [candidate("question", 1.0)], 0.9, (refuses, raises)).refusals == ()


@pytest.mark.parametrize(("guard", "name"), [(refuses, "refuses"), (Nameless(), "Nameless")])
def test_vetoes_are_counted_under_the_guards_name(guard: Any, name: str) -> None:
    """A guard is counted by a function's name, or by an object's class."""
    assert guard_name(guard) == name


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (Entry("k", "n", "p", "question", None, b""), True),
        (Entry("x", "n", "p", "question", None, b""), False),
        (Entry("k", "n", "x", "question", None, b""), False),
        (Entry("k", "n", "p", "x", None, b""), False),
    ],
)
def test_an_exact_entry_answers_only_its_own_prompt(entry: Entry, expected: bool) -> None:
    """An entry that a storage returns under the key of another prompt is not believed."""
    assert answers(Candidate(entry, 1.0, 0.0), QUERY) is expected


SAME = ("How do I get a refund?", "How can I get a refund?")
OTHER = ("Is a refund within 30 days possible?", "Is a refund within 90 days possible?")


def served(asked: str, cached: Any, guards: Any) -> Decision:
    """Decide about one similar prompt."""
    return decide(QUERY._replace(text=asked), [candidate(cached, 0.95)], 0.9, guards)


def test_a_pair_that_the_default_guards_let_through_is_judged_by_the_others_again() -> None:
    """That the default guards let a pair through is remembered; what other guards say, or a refusal, is not."""
    asked: list[str] = []

    def another(prompt: str, cached_prompt: str) -> bool:
        asked.append(cached_prompt)
        return len(asked) != 2

    guards = (*DEFAULT_GUARDS, another)
    assert [bool(served(*SAME, guards).served) for _ in range(3)] == [True, False, True]
    assert asked == [SAME[1]] * 3
    assert [served(*OTHER, guards).refusals[0][1] for _ in range(2)] == ["numbers_agree"] * 2
    assert served(*OTHER, ()).served
    assert served(*SAME, (refuses, *DEFAULT_GUARDS)).refusals


def test_what_is_remembered_of_a_pair_says_nothing_of_another() -> None:
    """Each of two prompts is let through beside itself reworded, and not beside the other."""
    assert served(*SAME, DEFAULT_GUARDS).served
    assert served(OTHER[0], "Is a refund possible within 30 days?", DEFAULT_GUARDS).served
    assert not served(OTHER[0], OTHER[1], DEFAULT_GUARDS).served
    assert served(*SAME, DEFAULT_GUARDS).served


def test_pairs_that_the_default_guards_let_through_are_remembered_in_a_megabyte() -> None:
    """What all default guards let through is remembered, and no more of it than there is room for."""
    memo = decision_module._LET_THROUGH
    assert memo.limit_bytes <= 2**20
    memo.clear()
    assert served(*SAME, DEFAULT_GUARDS).served
    assert not served(*OTHER, DEFAULT_GUARDS).served
    assert (memo.get(SAME), memo.get(OTHER), len(memo)) == (True, None, 1)


@pytest.mark.parametrize("prompt", [None, ["a list"], 7])
def test_a_prompt_of_another_type_is_doubt(prompt: Any) -> None:
    """A storage that returns no text as a prompt gets no answer served, and no error."""
    decision = served(SAME[0], prompt, DEFAULT_GUARDS)
    assert not decision.served
    assert decision.doubts
    assert is_quick(QUERY, [candidate(prompt, 0.95)])
