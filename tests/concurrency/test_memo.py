"""The memo that is bounded in bytes."""

from __future__ import annotations

import gc
import random
import threading
import tracemalloc

import pytest
from support.interrupting import Points

from recallm.concurrency.memo import SHARE, Memo


def total_bytes(memo: Memo[str, bytes]) -> int:
    """Return how many bytes the values take that a memo keeps."""
    younger, older, _ = memo._generations
    return sum(size for _, size in {**older, **younger}.values())


def test_a_value_is_kept_under_its_key() -> None:
    """What was kept is found, also None, and what was not kept is the default."""
    memo: Memo[str, int | None] = Memo(1000)
    memo.put("one", 1, 10)
    memo.put("none", None, 10)
    assert (memo.get("one"), memo.get("none", 0), memo.get("two", "absent"), len(memo)) == (1, None, "absent", 2)


def test_a_later_value_takes_the_place_of_an_earlier_one() -> None:
    """A key that is kept again has its latest value, also if the earlier one is of an older generation."""
    memo: Memo[str, int] = Memo(1000)
    memo.put("key", 1, 100)
    for number in range(4):
        memo.put(f"other {number}", number, 100)
    memo.put("key", 2, 100)
    assert memo.get("key") == 2


@pytest.mark.parametrize("size", [1, 7, 64, 125])
def test_the_values_never_take_more_than_the_room(size: int) -> None:
    """However many values are kept and used, they take no more bytes than there may be."""
    memo: Memo[str, bytes] = Memo(1000)
    chance = random.Random(size)  # noqa: S311  # no secret
    for number in range(2000):
        memo.put(str(number), b"", chance.randint(1, size))
        memo.get(str(chance.randint(0, number)))
        assert total_bytes(memo) <= 1000


def test_what_is_used_stays_and_what_is_not_used_leaves() -> None:
    """A value that is asked for between others outlasts any number of them."""
    memo: Memo[str, int] = Memo(1000)
    memo.put("used", 1, 50)
    memo.put("unused", 1, 50)
    for number in range(500):
        memo.put(str(number), number, 50)
        assert memo.get("used") == 1
    assert memo.get("unused") is None


def test_a_value_that_is_too_large_is_not_kept() -> None:
    """A value that would drive out many others is not kept, drives out none, and leaves no earlier one."""
    memo: Memo[str, int] = Memo(1000)
    memo.put("small", 1, 1000 // SHARE)
    memo.put("large", 2, 1000 // SHARE + 1)
    memo.put("small again", 3, 10)
    memo.put("small again", 4, 1000)
    assert (memo.get("small"), memo.get("large"), memo.get("small again")) == (1, None, None)


def test_a_quarter_of_the_room_is_not_too_large() -> None:
    """What takes a quarter of the room is kept; what takes more is not, and forgets an earlier value, however old."""
    memo: Memo[str, int] = Memo(1000)
    memo.put("quarter", 1, 250)
    memo.put("more", 1, 251)
    assert (memo.get("quarter"), memo.get("more")) == (1, None)
    for number in range(2):
        memo.put(str(number), number, 250)
    memo.put("quarter", 2, 251)
    assert memo.get("quarter") is None


@pytest.mark.parametrize("is_cleared", [False, True])
def test_the_room_is_used_to_the_last_byte(is_cleared: bool) -> None:
    """Values that together take exactly the room are all kept, in a memo that is new or was cleared."""
    memo: Memo[int, int] = Memo(1000)
    if is_cleared:
        memo.put(-1, -1, 200)
        memo.clear()
    for number in range(4):
        memo.put(number, number, 250)
    assert len(memo) == 4


def test_clear_forgets_all_values() -> None:
    """After `clear` nothing is kept, and the room is free again."""
    memo: Memo[str, int] = Memo(1000)
    for number in range(20):
        memo.put(str(number), number, 100)
    memo.clear()
    assert len(memo) == 0
    memo.put("new", 1, 100)
    assert memo.get("new") == 1


def test_memory_stays_flat_however_many_values_pass_through() -> None:
    """A memo of 200 kB takes no more after twenty megabytes have passed through it."""
    memo: Memo[str, bytes] = Memo(200_000)
    tracemalloc.start()
    try:
        for number in range(2000):
            memo.put(str(number), bytes(10_000), 10_100)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 250_000
    finally:
        tracemalloc.stop()


def test_a_handler_may_use_a_memo_that_is_in_use() -> None:
    """Code that runs at every point of the memo's neither hangs, nor loses values, nor breaks the bound."""
    memo: Memo[str, bytes] = Memo(1000)
    numbers = iter(range(10**9))

    def nested() -> None:
        memo.put(f"nested {next(numbers)}", b"", 100)
        memo.get("nested 1")

    def run() -> None:
        for number in range(50):
            memo.put(str(number), b"", 100)
            assert memo.get(str(number)) in (b"", None)

    points = Points(("concurrency/memo.py",), nested)
    points.of(run)
    assert points.passed > 100
    memo.put("last", b"", 10)
    assert memo.get("last") == b""
    for number in range(20):
        memo.put(f"after {number}", b"", 50)
    assert total_bytes(memo) <= 1000


def test_threads_may_share_a_memo() -> None:
    """Several threads that keep and find values at once find none but their own, and the bound holds in the end."""
    memo: Memo[str, str] = Memo(10_000)
    wrong: list[str] = []
    start = threading.Barrier(4)

    def work(name: str) -> None:
        start.wait(10)
        for number in range(3000):
            key = f"{name} {number % 70}"
            found = memo.get(key)
            if found not in (None, key):
                wrong.append(key)
            memo.put(key, key, 100)

    threads = [threading.Thread(target=work, args=(str(each),)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert len(memo) <= 100 + len(threads)
