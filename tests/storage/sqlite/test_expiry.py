"""Entries expire by their file's time, which never goes back, whatever becomes of the machine's clock."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from support.sqlite_files import found, put, recalled, until

from recallm import SQLiteStorage
from recallm.storage.sqlite.clock import Anchor, FileClock
from recallm.testing import Clock


class Machine:
    """A machine whose time a test moves: its wall clock, and what has passed since it was started."""

    def __init__(self) -> None:
        self.wall, self.steady = Clock(1_700_000_000.0), Clock(5000.0)

    def pass_time(self, seconds: float) -> None:
        """Let both clocks go on."""
        self.wall.advance(seconds)
        self.steady.advance(seconds)

    def storage(self, path: Path) -> SQLiteStorage:
        """Return a storage of a process on this machine."""
        storage = SQLiteStorage(path)
        clock = storage._reads.parts.clock
        clock._wall, clock._steady = self.wall, self.steady
        return storage


def test_an_entry_expires_and_is_swept(tmp_path: Path) -> None:
    """An entry is there until its ttl has passed, and later its room is free again."""
    machine = Machine()
    storage = machine.storage(tmp_path / "a.db")
    put(storage, "brief", ttl=10.0)
    put(storage, "lasting")
    machine.pass_time(9.9)
    assert found(storage, "brief") == ["brief"]
    candidate = recalled(storage, "brief")
    assert candidate is not None
    assert abs(candidate.age - 9.9) < 0.01
    machine.pass_time(0.1)
    assert recalled(storage, "brief") is None
    assert found(storage, "brief") == []
    assert storage.sizes(["n"]) == {"n": 1}
    put(storage, "another")
    with storage._pool.outside() as connection:
        until(lambda: connection.execute("SELECT count(*) FROM entries").fetchall() == [(2,)])


def test_a_clock_that_is_set_back_neither_lengthens_a_life_nor_brings_one_back(tmp_path: Path) -> None:
    """With the wall clock an hour back an entry expires when its ttl has passed, and one that has expired stays so."""
    machine = Machine()
    storage, other = (machine.storage(tmp_path / "a.db") for _ in range(2))
    put(storage, "gone", ttl=10.0)
    machine.pass_time(11.0)
    put(storage, "brief", ttl=10.0)
    machine.wall.advance(-3600.0)
    for each in (storage, other):
        assert recalled(each, "gone") is None
        assert recalled(each, "brief") is not None
    machine.pass_time(10.0)
    for each in (storage, other):
        assert recalled(each, "brief") is None
    put(storage, "later", ttl=10.0)
    machine.pass_time(9.0)
    assert recalled(other, "later") is not None
    machine.pass_time(1.1)
    assert recalled(other, "later") is None


def test_a_clock_that_was_wrong_for_a_while_ends_no_later_entry_too_late(tmp_path: Path) -> None:
    """An entry stored while the clock was years ahead expires after its ttl, though the clock is right again."""
    machine = Machine()
    storage, other = (machine.storage(tmp_path / "a.db") for _ in range(2))
    put(other, "early")
    machine.wall.advance(1e8)
    put(storage, "brief", ttl=10.0)
    machine.wall.advance(-1e8)
    machine.pass_time(5.0)
    assert recalled(other, "brief") is not None
    machine.pass_time(5.1)
    assert recalled(other, "brief") is None
    assert recalled(storage, "brief") is None


def test_a_restart_with_a_clock_set_back_lengthens_no_life(tmp_path: Path) -> None:
    """After a restart of the machine an entry lives at most for what it had left when the last one was stored."""
    machine = Machine()
    put(machine.storage(tmp_path / "a.db"), "brief", ttl=10.0)
    machine.wall.advance(-3600.0)
    machine.steady.now = 0.0
    storage = machine.storage(tmp_path / "a.db")
    assert recalled(storage, "brief") is not None
    put(storage, "one")
    machine.pass_time(10.1)
    assert recalled(storage, "brief") is None


@given(st.lists(st.tuples(st.integers(-(10**9), 10**9), st.integers(0, 10**9), st.booleans()), max_size=20))
def test_the_time_of_a_file_never_goes_back(steps: list[tuple[int, int, bool]]) -> None:
    """However the wall clock jumps and the machine restarts, each anchor that is written is later than the last."""
    machine = Machine()
    clock, anchor = FileClock(machine.wall, machine.steady), Anchor(0, 0)
    for jump, passed, restarted in steps:
        machine.wall.advance(jump)
        if restarted:
            machine.steady.now = 0.0
        before = clock.now(anchor)
        assert before.wall_ms >= anchor.wall_ms
        machine.pass_time(passed / 1000)
        after = clock.now(anchor)
        assert after.wall_ms >= before.wall_ms
        anchor = after
