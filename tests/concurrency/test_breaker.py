"""The circuit breaker skips a part that keeps failing, and tries it again after a pause that grows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.concurrency.breaker import FIRST_PAUSE, LONGEST_PAUSE, PROBE_SECONDS, TROUBLES, Breaker, Circuit, Unhurried
from recallm.errors import CircuitOpenError, CorruptPayloadError, InvalidValueError, OddVectorError
from recallm.testing import Clock


class Watched:
    """A breaker with its clock, and the state changes that it reported."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.changes: list[str] = []
        self.breaker = Breaker("storage", clock=self.clock, changed=self._note)

    def _note(self, part: str, state: str) -> None:
        assert part == "storage"
        self.changes.append(state)

    def operate(self, error: BaseException | None = None, *, late: bool = False) -> bool:
        """Return whether the breaker admits an operation; if it does, report that it ended with `error`."""
        try:
            self.breaker.admit()
        except CircuitOpenError:
            return False
        if error is None or isinstance(error, Exception):
            self.breaker.record(error, late=late)
        else:
            self.breaker.interrupted()
        return True


def test_troubles_in_a_row_open_it() -> None:
    """Only consecutive failures open the circuit; a success among them starts the count again."""
    watched = Watched()
    for error in [OSError()] * (TROUBLES - 1) + [None] + [OSError()] * TROUBLES:
        assert watched.operate(error)
    assert not watched.operate()
    assert watched.changes == ["open"]


def test_one_that_took_its_whole_time_limit_opens_it_at_once() -> None:
    """One operation that takes its whole time limit opens the circuit, as every further one would take as long."""
    watched = Watched()
    assert watched.operate(TimeoutError(), late=True)
    assert not watched.operate()
    with pytest.raises(CircuitOpenError, match="the storage kept failing"):
        watched.breaker.admit()


def test_three_troubles_and_at_most_a_minute() -> None:
    """What the documentation promises: the third failure in a row opens the circuit, for no longer than a minute."""
    watched = Watched()
    assert [watched.operate(OSError()) for _ in range(4)] == [True, True, True, False]
    for _ in range(10):
        watched.clock.advance(60.0)
        assert watched.operate(OSError())


def test_a_failure_is_not_late_unless_it_is_said_to_be() -> None:
    """One failure that came in time, reported in the shortest way, opens nothing."""
    watched = Watched()
    watched.breaker.admit()
    watched.breaker.record(OSError())
    assert watched.breaker.state == "closed"


@pytest.mark.parametrize(("late", "state"), [(True, "closed"), (False, "open")])
def test_what_asks_for_more_than_others_is_no_trouble_if_it_is_late(late: bool, state: str) -> None:
    """An operation that asks for more than others do opens nothing by being late, and by failing as others do."""
    watched = Watched()
    unhurried = Unhurried(watched.breaker)
    given = {"late": True} if late else {}
    for _ in range(TROUBLES):
        unhurried.record(OSError(), **given)
    assert watched.breaker.state == state


def test_what_asks_for_more_than_others_may_be_the_probe() -> None:
    """Its success closes the circuit; if it is broken off, another operation may probe at once."""
    watched = Watched()
    watched.operate(TimeoutError(), late=True)
    watched.clock.advance(FIRST_PAUSE)
    watched.breaker.admit()
    Unhurried(watched.breaker).interrupted()
    watched.breaker.admit()
    Unhurried(watched.breaker).record(None)
    assert watched.breaker.state == "closed"


@pytest.mark.parametrize("doubt", [OddVectorError(), CorruptPayloadError()])
def test_doubt_about_what_came_back_is_no_trouble(doubt: Exception) -> None:
    """A reply that is doubted does not count as a failure, and ends a row of failures as a success does."""
    watched = Watched()
    for error in [OSError()] * (TROUBLES - 1) + [doubt] + [OSError()] * (TROUBLES - 1):
        assert watched.operate(error)
    assert watched.breaker.state == "closed"


def test_what_is_refused_untried_tells_nothing() -> None:
    """Answers that are too large to be stored leave the circuit as it is, however many there are."""
    watched = Watched()
    for error in [OSError()] * (TROUBLES - 1) + [InvalidValueError()] * TROUBLES:
        assert watched.operate(error)
    assert watched.breaker.state == "closed"
    assert watched.operate(OSError())
    watched.clock.advance(FIRST_PAUSE)
    assert watched.operate(InvalidValueError())
    assert watched.operate()
    assert watched.changes == ["open", "closed"]


def test_one_probe_goes_through_after_the_pause() -> None:
    """After the pause one operation is admitted as a probe, others are refused, and its success closes the circuit."""
    watched = Watched()
    watched.operate(TimeoutError(), late=True)
    watched.clock.advance(FIRST_PAUSE)
    watched.breaker.admit()
    assert watched.breaker.state == "probing"
    assert not watched.operate()
    watched.breaker.record(None)
    assert watched.operate()
    assert watched.changes == ["open", "closed"]


def test_the_pause_doubles_with_each_failed_probe_up_to_a_minute() -> None:
    """Each failed probe doubles the pause up to a minute; after a success the pause begins at a second again."""
    watched = Watched()
    watched.operate(TimeoutError(), late=True)
    pauses = []
    for _ in range(9):
        waited = 0.0
        while not watched.operate(OSError()):
            watched.clock.advance(0.5)
            waited += 0.5
        pauses.append(waited)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    assert watched.changes == ["open"]
    watched.clock.advance(LONGEST_PAUSE)
    assert watched.operate()
    watched.operate(TimeoutError(), late=True)
    watched.clock.advance(FIRST_PAUSE)
    assert watched.operate()


def test_a_probe_that_is_broken_off_leaves_the_next_one_to_probe() -> None:
    """If a probe is interrupted, the next operation is admitted as the probe."""
    watched = Watched()
    watched.operate(TimeoutError(), late=True)
    watched.clock.advance(FIRST_PAUSE)
    assert watched.operate(KeyboardInterrupt())
    assert watched.operate()
    assert watched.changes == ["open", "closed"]


def test_a_probe_whose_end_nobody_reports_is_given_up() -> None:
    """A probe that was lost holds the circuit open for a while, not for ever."""
    watched = Watched()
    watched.operate(TimeoutError(), late=True)
    watched.clock.advance(FIRST_PAUSE)
    watched.breaker.admit()
    watched.clock.advance(PROBE_SECONDS - 0.1)
    assert not watched.operate()
    watched.clock.advance(0.2)
    assert watched.operate()
    assert watched.breaker.state == "closed"


@pytest.mark.parametrize("now", [0.0, LONGEST_PAUSE, 1e9])
def test_after_a_probe_that_was_broken_off_any_time_is_late_enough(now: float) -> None:
    """An interrupted probe may be repeated at once, however long the pause; other circuits stay as they are."""
    probing = Circuit("probing", 7, LONGEST_PAUSE, now)
    again = probing.after_neither()
    assert (again.state, again.troubles, again.pause) == ("open", 7, LONGEST_PAUSE)
    assert again.admitting(now) is not None
    for circuit in (Circuit(), Circuit("open", 3, 1.0, now)):
        assert circuit.after_neither() == circuit


def test_only_a_probe_lengthens_the_pause() -> None:
    """Operations that fail while the circuit is open change neither the pause nor when it opened."""
    opened = Circuit().after_trouble(5.0, slow=True)
    assert opened == Circuit("open", 1, FIRST_PAUSE, 5.0)
    assert opened.after_trouble(9.0, slow=True) == Circuit("open", 2, FIRST_PAUSE, 5.0)
    probing = Circuit("probing", 2, 4.0, 5.0)
    assert probing.after_trouble(9.0, slow=False) == Circuit("open", 3, 8.0, 9.0)
    assert Circuit("probing", 2, LONGEST_PAUSE, 5.0).after_trouble(9.0, slow=False).pause == LONGEST_PAUSE
    assert Circuit().after_trouble(5.0, slow=False) == Circuit("closed", 1)


def test_a_call_that_is_broken_off_counts_for_nothing() -> None:
    """Interrupted operations never open a closed circuit."""
    watched = Watched()
    for _ in range(10):
        assert watched.operate(KeyboardInterrupt())
    assert watched.changes == []


def test_a_late_end_of_an_old_operation_does_not_disturb_an_open_circuit() -> None:
    """An old operation that fails while the circuit is open neither prolongs the pause nor reports a change."""
    watched = Watched()
    watched.operate(TimeoutError(), late=True)
    watched.clock.advance(FIRST_PAUSE / 2)
    watched.breaker.record(OSError())
    watched.clock.advance(FIRST_PAUSE / 2)
    assert watched.operate()
    assert watched.changes == ["open", "closed"]


def test_a_clock_that_goes_back_does_not_keep_it_open() -> None:
    """If the clock goes back, an open circuit admits the next operation as a probe."""
    watched = Watched()
    watched.operate(TimeoutError(), late=True)
    watched.clock.advance(-500.0)
    assert watched.operate()


EVENTS = st.lists(st.sampled_from(["success", "trouble", "late", "neither", "wait"]), max_size=60)


@given(EVENTS)
def test_whatever_happens_it_opens_only_in_trouble_and_never_for_good(events: list[str]) -> None:
    """Only a failure opens a circuit; after the longest pause it admits an operation, whose success closes it."""
    circuit, now = Circuit(), 0.0
    for event in events:
        now += 0.25 if event == "wait" else 0.0
        admitted: Any = circuit.admitting(now)
        if admitted is None:
            assert circuit.state in ("open", "probing")
            continue
        before = circuit
        match event:
            case "success":
                circuit = admitted.after_success()
                assert circuit == Circuit()
            case "trouble" | "late":
                circuit = admitted.after_trouble(now, slow=event == "late")
            case "neither":
                circuit = admitted.after_neither()
        if circuit.state == "open" and before.state == "closed":
            assert event in ("trouble", "late")
        assert circuit.state != "probing"
        assert FIRST_PAUSE <= circuit.pause <= LONGEST_PAUSE
    later: Any = circuit.admitting(now + LONGEST_PAUSE)
    assert later is not None
    assert later.after_success().state == "closed"
