"""A dict in parts holds what a dict holds, whoever reads and whatever cuts its changes short."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples
from support.interrupting import each_point

from recallm.storage import parted
from recallm.storage.parted import PartedDict


@pytest.fixture(autouse=True, scope="module")
def small() -> Iterator[None]:
    """A dict whose parts are small, so that few keys are in many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parted, "_KEYS_A_PART", 4)
        yield


def filled(count: int) -> PartedDict[int]:
    """Return a dict of so many keys."""
    made: PartedDict[int] = PartedDict()
    for number in range(count):
        made[str(number)] = number
    return made


@examples(0.5)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 200)), max_size=300))
def test_any_history_leaves_what_it_leaves_in_a_dict(steps: list[tuple[bool, int]]) -> None:
    """Keys that are set and removed in any order are there, listed and counted as in a dict."""
    made, model = PartedDict[int](), dict[str, int]()
    for number, (is_set, name) in enumerate(steps):
        key = str(name)
        if is_set:
            made[key] = model[key] = number
        else:
            assert made.pop(key) == model.pop(key, None)
    assert dict(made.items()) == model
    assert sorted(made) == sorted(model)
    assert (len(made), bool(made)) == (len(model), bool(model))
    assert all(made.get(str(name), -1) == model.get(str(name), -1) for name in range(201))
    assert all((str(name) in made) == (str(name) in model) for name in range(201))


def test_no_part_grows_large() -> None:
    """A thousand keys are in parts of a few."""
    parts = {id(part): part for part in filled(1_000)._places}.values()
    assert max(map(len, parts)) < 10


def test_keys_of_one_hash_stay_together() -> None:
    """Keys that cannot be told apart by their hash are all found, and the dict takes no more and more places."""

    class Same(str):
        __slots__ = ()

        def __hash__(self) -> int:
            return 7

    made: PartedDict[int] = PartedDict()
    for number in range(40):
        made[Same(number)] = number
    assert [made.get(Same(number)) for number in range(40)] == list(range(40))
    assert len(made._places) <= 1 << 14


def test_a_change_that_is_cut_short_has_happened_or_has_not() -> None:
    """Wherever an exception comes as a part is split, all that was there is there, once."""
    for _, made in each_point(lambda: Adding(4), ("storage/parted.py",)):
        assert sorted(made.changed) in ([str(number) for number in range(4)], [str(number) for number in range(5)])
        assert len(made.changed) == len(dict(made.changed.items()))


class Adding:
    """A dict, and the addition that splits it."""

    def __init__(self, count: int) -> None:
        self.changed = filled(count)

    def __call__(self) -> None:
        """Add a key."""
        self.changed["4"] = 4


def test_what_is_there_is_found_while_another_thread_adds() -> None:
    """A reader finds each key that is there, as parts are split under it."""
    made = filled(10)
    missed: list[str] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            missed.extend(str(number) for number in range(10) if made.get(str(number)) != number)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(10, 3_000):
        made[str(number)] = number
    over.set()
    reader.join()
    assert missed == []
