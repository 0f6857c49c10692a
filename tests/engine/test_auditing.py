"""Audits, reports and new answers for expired ones, driven by hand: what the flows ask for, in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.driving import InTurn, by_type, drive

from recallm.codec.codec import Codec
from recallm.engine.effects import Call, Called, Compare, Draw, Embed, Emit, LoadModel, ReadAgain, Revalidate
from recallm.engine.flow import answer, revalidate
from recallm.engine.plan import Plan
from recallm.engine.reports import ATTEMPTS, own, refuse
from recallm.errors import BusyError, CircuitOpenError, NotKeptError
from recallm.keying.keyer import Request
from recallm.records import (
    REFUSAL,
    Audited,
    Candidate,
    Entry,
    Failure,
    Hit,
    Miss,
    ModelInfo,
    Recalled,
    Reported,
    Revalidating,
    Stored,
)
from recallm.scoring import normalise
from recallm.storage.base import Put, Recall, Remove, Search
from recallm.telemetry.stats import increments

VECTOR = normalise([1.0, 0.0])
REQUEST = Request("question", "n", b"exact", 60.0)
QUERY = REQUEST.query("model")
CODEC = Codec()
NOTHING = Recalled(None, epoch=7)


def same(prompt: str, cached_response: object, response: object) -> bool:
    """Compare nothing."""
    return True


PLAN = Plan(threshold=0.9, guards=(), codec=CODEC, store_if=lambda _: True, audit=0.1, same=same, max_wrong=0.01)


def similar(**changes: Any) -> Candidate:
    """Return another prompt's entry that may serve."""
    payload = CODEC.encode("stored")
    entry = Entry("other", "n", QUERY.partition, "another question", VECTOR, payload)
    return Candidate(entry._replace(**changes), 0.95, 1.0)


def outcome(plan: Plan, *, drawn: bool | Exception, compared: Any = None, **given: Any) -> tuple[Any, list[Any]]:
    """Return what a call gets that finds a similar answer, and the effects that it asks for after the search."""
    replies = {
        LoadModel: ModelInfo("model", {}),
        Recall: NOTHING,
        Embed: VECTOR,
        Search: [similar()],
        Draw: drawn,
        Call: Called("own", 0.5),
        Put: given.pop("put", Stored(kept=True)),
        Compare: compared,
        Emit: None,
    }
    result, effects = drive(answer(plan, REQUEST, **given), by_type(replies))
    return result, effects[[type(each) for each in effects].index(Search) + 1 :]


def test_a_hit_that_is_not_drawn_is_a_hit() -> None:
    """A similar hit is served if it is not drawn, and nothing else happens."""
    result, effects = outcome(PLAN, drawn=False)
    assert result == "stored"
    assert effects == [Draw(QUERY.key, 0.1), Emit(Hit(similar(), False, "stored"))]


def test_without_audits_nothing_is_drawn() -> None:
    """Without `audit` a similar hit asks for nothing more than it did."""
    result, effects = outcome(replace(PLAN, audit=0.0), drawn=AssertionError())
    assert (result, effects) == ("stored", [Emit(Hit(similar(), False, "stored"))])


def test_a_hit_that_is_drawn_becomes_a_call_whose_answer_is_stored_and_compared() -> None:
    """A drawn hit is a miss: the function is called, its answer stored under the epoch that was seen, and compared."""
    result, effects = outcome(PLAN, drawn=True)
    assert result == "own"
    miss = Miss("audited", QUERY, 7, VECTOR)
    own_payload = CODEC.encode("own")
    assert effects[1] == Call(otherwise=miss)
    assert effects[2] == Emit(miss)
    assert isinstance(effects[3], Put)
    assert (effects[3].entry.key, effects[3].epoch, effects[3].ttl) == (QUERY.key, 7, 60.0)
    assert effects[-1] == Compare(same, CODEC, "question", similar(), "stored", own_payload, 0.01)


@pytest.mark.parametrize("put", [Stored(kept=False), ConnectionError()])
def test_an_answer_that_is_not_kept_is_not_compared(put: Any) -> None:
    """If a removal, or trouble, keeps the own answer from being stored, nothing is compared."""
    result, effects = outcome(PLAN, drawn=True, put=put)
    assert result == "own"
    assert Compare not in [type(each) for each in effects]


def test_arguments_that_changed_are_not_compared() -> None:
    """If the function answered another question than the one that was looked up, its answer says nothing."""
    replies = {
        LoadModel: ModelInfo("model", {}),
        Recall: NOTHING,
        Embed: VECTOR,
        Search: [similar()],
        Draw: True,
        Call: Called("own", 0.5, as_read=False),
        Emit: None,
    }
    result, effects = drive(answer(PLAN, REQUEST), by_type(replies))
    assert result == "own"
    assert effects[-1] == Emit(Miss("changed", QUERY, 7, VECTOR, storable=False))


def test_a_comparison_that_cannot_be_had_is_an_error_and_the_call_has_its_answer() -> None:
    """If nobody has room for the comparison, an error is counted, and the call ends as it would."""
    error = BusyError("behind")
    result, effects = outcome(PLAN, drawn=True, compared=error)
    assert result == "own"
    assert effects[-1] == Emit(Failure("audit", error))


@pytest.mark.parametrize("drawn", [True, False])
def test_in_shadow_the_would_be_hit_is_drawn_after_the_call_and_not_stored(drawn: bool) -> None:
    """With `serve="none"` the function's answer is compared without being stored."""
    result, effects = outcome(PLAN, drawn=drawn, serve="none")
    assert result == "own"
    assert [type(each) for each in effects] == [Call, Emit, Draw, *([Compare] if drawn else [])]


def test_events_count_where_they_belong() -> None:
    """An audit counts by its band, a wrong one twice; a report counts by itself."""
    assert increments(Audited(0.93, same=True)) == ((("audits", "0.92-0.94"), 1), (("wrong_audits", "0.92-0.94"), 0))
    assert increments(Audited(0.93, same=False))[1] == (("wrong_audits", "0.92-0.94"), 1)
    assert increments(Reported()) == ((("reported_wrong", None), 1),)
    assert increments(Miss("audited", QUERY, 7, shadowed=Hit(similar(), False, "stored"))) == ((("misses", None), 1),)


EXPIRED = Candidate(
    Entry(QUERY.key, "n", QUERY.partition, "question", VECTOR, CODEC.encode("old"), fresh_for=60.0), 1.0, 70.0
)
REVALIDATING = replace(PLAN, audit=0.0, revalidate_seconds=100.0)


def test_an_expired_answer_is_served_and_asked_for_anew() -> None:
    """The expired answer is a hit, and the driver is asked for a new one; if it cannot be had, that is an error."""
    for failure in (None, BusyError("behind")):
        replies = {LoadModel: ModelInfo("model", {}), Recall: Recalled(EXPIRED, 7), Revalidate: failure, Emit: None}
        result, effects = drive(answer(REVALIDATING, REQUEST), by_type(replies))
        assert result == "old"
        asked = [each for each in effects if not isinstance(each, LoadModel)]
        assert asked[1:4] == [
            Emit(Hit(EXPIRED, True, "old", expired=True)),
            Emit(Revalidating()),
            Revalidate(REQUEST, QUERY.key),
        ]
        assert asked[4:] == ([] if failure is None else [Emit(Failure("revalidate", failure))])


@pytest.mark.parametrize(("age", "served"), [(59.0, False), (60.0, True), (159.0, True), (160.0, False)])
def test_the_time_in_which_it_is_served_begins_with_its_expiry(age: float, served: bool) -> None:
    """An answer is expired from its ttl on, and may be served for `stale_while_revalidate` seconds more."""
    replies = {
        LoadModel: ModelInfo("model", {}),
        Recall: Recalled(EXPIRED._replace(age=age), 7),
        Embed: VECTOR,
        Search: [],
        Call: Called("new", 0.5),
        Put: Stored(kept=True),
        Revalidate: None,
        Emit: None,
    }
    result, effects = drive(answer(REVALIDATING, REQUEST), by_type(replies))
    assert (result == "old") == (age < 160.0)
    assert (Revalidate in map(type, effects)) == served
    puts = [each for each in effects if isinstance(each, Put)]
    assert [(put.entry.fresh_for, put.ttl) for put in puts] == ([] if age < 160.0 else [(60.0, 160.0)])


def anew(recalled: Recalled | InTurn, *again: bool) -> list[type]:
    """Return the types of the effects by which an expired answer is made anew, given what look-ups find."""
    replies = {
        LoadModel: ModelInfo("model", {}),
        Recall: recalled,
        Embed: VECTOR,
        ReadAgain: InTurn([*again]),
        Call: Called("new", 0.5),
        Put: Stored(kept=True),
        Emit: None,
    }
    _, effects = drive(revalidate(REVALIDATING, REQUEST), by_type(replies))
    return [type(each) for each in effects]


def test_a_new_answer_takes_the_place_of_the_expired_one() -> None:
    """The function is called and its answer stored; the call of long ago is not counted again."""
    found = anew(Recalled(EXPIRED, 7), True, True)
    assert found == [LoadModel, Recall, Embed, ReadAgain, Call, ReadAgain, Recall, Put, Emit]


def test_an_answer_that_is_fresh_by_now_is_left() -> None:
    """If another process has made the answer anew, the function is not called."""
    assert anew(Recalled(EXPIRED._replace(age=1.0), 7)) == [LoadModel, Recall]


def test_an_answer_that_is_fresh_by_the_end_is_left() -> None:
    """If somebody has stored another answer while the function was at work, its own is not stored."""
    found = anew(InTurn([Recalled(EXPIRED, 7), Recalled(EXPIRED._replace(age=1.0), 7)]), True, True)
    assert found == [LoadModel, Recall, Embed, ReadAgain, Call, ReadAgain, Recall]


@pytest.mark.parametrize(("trouble", "told"), [(OSError("away"), [Emit]), (CircuitOpenError("skipped"), [])])
def test_trouble_in_the_last_look_up_does_not_keep_an_answer_from_being_stored(
    trouble: Exception, told: list[type]
) -> None:
    """If it cannot be told whether there is another answer by now, storing this one is tried all the same."""
    found = anew(InTurn([Recalled(EXPIRED, 7), trouble]), True, True)
    assert found == [LoadModel, Recall, Embed, ReadAgain, Call, ReadAgain, Recall, *told, Put, Emit]


def test_arguments_that_changed_leave_no_answer() -> None:
    """If the arguments have changed before the call, the function is not called; if during it, nothing is stored."""
    assert anew(Recalled(EXPIRED, 7), False)[-1] is ReadAgain
    assert anew(Recalled(EXPIRED, 7), True, False)[-2:] == [Call, ReadAgain]


REFUSED = Recalled(Candidate(Entry(QUERY.key, "n", QUERY.partition, "", None, REFUSAL), 1.0, 0.0), 8)


def test_a_refusal_is_stored_before_an_epoch_begins_and_looked_for_after() -> None:
    """The refusal is put under the epoch that was seen, then an epoch begins, and the refusal must still be there."""
    replies = {Recall: InTurn([NOTHING, REFUSED, REFUSED]), Put: Stored(kept=True), Remove: 0}
    _, effects = drive(refuse(QUERY), by_type(replies))
    assert [type(each) for each in effects] == [Recall, Put, Recall, Remove, Recall]
    assert isinstance(effects[1], Put)
    assert (effects[1].entry.prompt, effects[1].entry.vector, effects[1].ttl) == ("", None, None)
    assert effects[3] == Remove("n", (own(QUERY).key,))


def test_a_refusal_that_is_there_already_only_loses_its_own_answer() -> None:
    """Reporting a prompt again removes its own answer, and stores nothing."""
    _, effects = drive(refuse(QUERY), by_type({Recall: REFUSED, Remove: 1}))
    assert [type(each) for each in effects] == [Recall, Remove, Recall]


def test_a_refusal_that_gives_way_each_time_ends_with_an_error() -> None:
    """After some attempts the report fails, and does not go on for ever."""
    overwritten = Recalled(similar(key=QUERY.key), 7)
    with pytest.raises(NotKeptError):
        drive(refuse(QUERY), by_type({Recall: overwritten, Put: Stored(kept=True), Remove: 1}))
    replies = {Recall: InTurn([overwritten] * (2 * ATTEMPTS) + [REFUSED]), Put: Stored(kept=True), Remove: 1}
    drive(refuse(QUERY), by_type(replies))


def test_a_refusal_of_another_partition_or_prompt_refuses_nothing() -> None:
    """What a storage returns is not trusted: a refusal counts under its own key and partition only."""
    changes: Any
    for changes in ({"key": "another"}, {"partition": "another"}, {"namespace": "another"}):
        assert REFUSED.candidate is not None
        foreign = REFUSED.candidate._replace(entry=REFUSED.candidate.entry._replace(**changes))
        replies = {
            LoadModel: ModelInfo("model", {}),
            Recall: Recalled(foreign, 7),
            Embed: VECTOR,
            Search: [similar()],
            Emit: None,
        }
        result, _ = drive(answer(replace(PLAN, audit=0.0), REQUEST), by_type(replies))
        assert result == "stored"
