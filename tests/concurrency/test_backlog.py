"""Work that nobody waits for: it is bounded, done once at a time, and forgotten in a forked child."""

from __future__ import annotations

import gc
import threading
from functools import partial

import pytest

from recallm.concurrency.backlog import LEAST_BYTES, Backlog, Claims, Upkeep
from recallm.errors import BusyError


def test_tasks_are_done_in_order_by_one_thread() -> None:
    """Tasks of a backlog with one thread are done one after the other, in another thread."""
    backlog, done, ended = Backlog("backlog", size=1), list[tuple[int, str]](), threading.Event()
    for number in range(5):
        backlog.submit(partial(lambda number: done.append((number, threading.current_thread().name)), number))
    backlog.submit(ended.set)
    assert ended.wait(10)
    assert done == [(number, "backlog") for number in range(5)]


@pytest.mark.parametrize(("size_bytes", "fit"), [(0, 4), (LEAST_BYTES, 4), (2 * LEAST_BYTES, 2)])
def test_what_would_hold_too_much_is_refused(size_bytes: int, fit: int) -> None:
    """A backlog takes tasks up to its bound, each for its size, and again once some are done."""
    backlog, go_on = Backlog("backlog", size=1, max_bytes=4 * LEAST_BYTES), threading.Event()
    for _ in range(fit):
        backlog.submit(lambda: go_on.wait(10), size_bytes)
    with pytest.raises(BusyError, match="have fallen behind"):
        backlog.submit(go_on.set, size_bytes)
    go_on.set()
    ended = threading.Event()
    for _ in range(1000):
        try:
            backlog.submit(ended.set, size_bytes)
            break
        except BusyError:
            threading.Event().wait(0.01)
    assert ended.wait(10)


def test_a_child_has_nothing_to_do() -> None:
    """What was waiting in the parent takes no room in a forked child, and its claims are free."""
    backlog, claims, go_on = Backlog("backlog", size=1, max_bytes=LEAST_BYTES), Claims(), threading.Event()
    kept = claims.claim("key")
    assert kept is not None
    backlog.submit(lambda: go_on.wait(10))
    backlog.after_fork()
    claims.after_fork()
    ended = threading.Event()
    backlog._workers.after_fork()
    backlog.submit(ended.set)
    assert ended.wait(10)
    assert claims.claim("key") is not None
    go_on.set()


def test_a_key_is_claimed_by_one_at_a_time() -> None:
    """A second claim of a key is refused until the first ends; other keys are free."""
    claims = Claims()
    first = claims.claim("key")
    assert first is not None
    assert claims.claim("key") is None
    other = claims.claim("other")
    assert other is not None
    claims.end(first)
    second = claims.claim("key")
    assert second is not None
    claims.end(first)  # ending twice frees nobody else's
    assert claims.claim("key") is None


def test_a_claim_that_is_lost_frees_its_key() -> None:
    """If whoever has a claim is gone without ending it, as a task that never began is, the key is free again."""
    claims = Claims()
    lost = claims.claim("key")
    assert lost is not None
    del lost
    gc.collect()
    assert not claims._under_way
    assert claims.claim("key") is not None


def test_one_of_many_threads_gets_a_claim() -> None:
    """Of threads that claim a key at once, one gets it."""
    claims, got, together = Claims(), list[object](), threading.Barrier(8)

    def claim() -> None:
        together.wait(10)
        got.append(claims.claim("key"))

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sum(each is not None for each in got) == 1


def test_upkeep_is_done_once_at_a_time() -> None:
    """Work of a name is begun again only after it has ended, be it by an error; work of other names is not held up."""
    upkeep, go_on, ended, begun = Upkeep("upkeep", size=2), threading.Event(), threading.Event(), list[str]()

    def fail() -> None:
        begun.append("sweep")
        go_on.wait(10)
        raise OSError("the server is gone")

    upkeep.begin("sweep", fail)
    upkeep.begin("sweep", fail)
    upkeep.begin("mirror", ended.set)
    assert ended.wait(10)
    assert upkeep.claims.is_claimed("sweep")
    go_on.set()
    while upkeep.claims.is_claimed("sweep"):
        threading.Event().wait(0.01)
    assert begun == ["sweep"]
    again = threading.Event()
    upkeep.begin("sweep", again.set)
    assert again.wait(10)


def test_upkeep_does_not_wait_for_that_of_others() -> None:
    """Upkeep that is stuck, as that of a storage whose server hangs is, keeps no other storage's waiting."""
    stuck, other, go_on, done = Upkeep("upkeep", size=1), Upkeep("upkeep", size=1), threading.Event(), threading.Event()
    stuck.begin("sweep", lambda: go_on.wait(10))
    other.begin("sweep", done.set)
    assert done.wait(10)
    go_on.set()


def test_upkeep_that_no_thread_can_do_may_be_begun_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread can be started nothing is raised, and the work is not taken for being under way."""
    upkeep, done = Upkeep("upkeep", size=1), threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr("sys.is_finalizing", lambda: True)
        upkeep.begin("sweep", done.set)
    gc.collect()
    assert not upkeep.claims.is_claimed("sweep")
    upkeep.begin("sweep", done.set)
    assert done.wait(10)


def test_upkeep_can_be_waited_for() -> None:
    """What has begun is done after `finish`, unless that takes longer than it may; a child waits for nothing."""
    upkeep, go_on, done = Upkeep("upkeep", size=1), threading.Event(), list[str]()

    def sweep() -> None:
        go_on.wait(10)
        done.append("sweep")

    upkeep.begin("sweep", sweep)
    upkeep.finish(0.01)
    assert done == []
    go_on.set()
    upkeep.finish(10)
    assert done == ["sweep"]
    again = threading.Event()
    upkeep.begin("sweep", lambda: again.wait(10))
    upkeep.after_fork()
    upkeep.finish(10)
    assert not again.is_set()
    again.set()
