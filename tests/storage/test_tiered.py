"""TieredStorage serves copies while nothing can have changed, for a stated time and never longer."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Sequence
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm import TieredStorage, semantic_cache
from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.records import Candidate, Entry, Recalled, Stored
from recallm.storage.base import Invalidate, Recall, Remove, Search, StorageBackend
from recallm.storage.copies import MAX_COPY_BYTES
from recallm.storage.memory import InMemoryStorage, ThreadSafeInMemoryStorage
from recallm.testing import Clock, FakeEmbedder, StorageContract

STALENESS = 1.0
make = StorageContract().entry


class Telling(ThreadSafeInMemoryStorage):
    """A far storage: it tells changes, says how long entries will be kept, and counts what it is asked."""

    blocking = True
    tells_changes = True

    def __init__(self, clock: Any = None) -> None:
        super().__init__(**({} if clock is None else {"clock": clock}))
        self.replaced = 0
        self.asked: list[str] = []
        self.fails = False
        self.ttls: dict[str, float | None] = {}

    def note(self, what: str) -> None:
        """Note that it is asked, unless it is out of reach."""
        if self.fails:
            raise ConnectionError("out of reach")
        self.asked.append(what)

    def _told(self, candidate: Candidate) -> Candidate:
        ttl = self.ttls.get(candidate.entry.key)
        return candidate._replace(expires_in=inf if ttl is None else max(0.0, ttl - candidate.age))

    def recall(self, namespace: str, key: str) -> Recalled:
        """Return the entry of a key, and the number of replacements."""
        self.note("recall")
        recalled = super().recall(namespace, key)
        candidate = None if recalled.candidate is None else self._told(recalled.candidate)
        return recalled._replace(candidate=candidate, replacements=self.replaced)

    def search(
        self, namespace: str, partition: str, vector: Any, threshold: float, limit: int | None
    ) -> Sequence[Candidate]:
        """Return similar entries."""
        self.note("search")
        return [self._told(each) for each in super().search(namespace, partition, vector, threshold, limit)]

    def _put(self, entry: Entry, epoch: int, ttl: float | None, began: float) -> Stored:
        """Store an entry, and count what it replaces."""
        self.note("put")
        replaces = InMemoryStorage.recall(self, entry.namespace, entry.key).candidate is not None
        stored = super()._put(entry, epoch, ttl, began)
        if stored.kept:
            self.ttls[entry.key] = ttl
            self.replaced += replaces
        return stored

    def remove(self, namespace: str, keys: Sequence[str]) -> int:
        """Remove entries."""
        self.note("remove")
        return super().remove(namespace, keys)

    def invalidate(self, namespace: str) -> int:
        """Remove all entries of a namespace."""
        self.note("invalidate")
        return super().invalidate(namespace)


class TestContract(StorageContract):
    """The storage contract, with copies of a storage that tells changes."""

    threads = 8

    def make_storage(self) -> StorageBackend:
        """Return an empty storage."""
        return TieredStorage(None, Telling(), staleness=60.0)


class Tiers:
    """Two processes' tiers in front of one far storage, and the time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.far = Telling(self.clock)
        self.ours, self.theirs = (self.tier() for _ in range(2))

    def tier(self, **options: Any) -> TieredStorage:
        """Return the tier of one more process."""
        near = options.get("near", ThreadSafeInMemoryStorage(max_entries=100, clock=self.clock))
        return TieredStorage(near, self.far, staleness=STALENESS, clock=self.clock)

    def asks_of(self, look_up: Any) -> list[str]:
        """Return what the far storage is asked by a look-up."""
        self.far.asked.clear()
        look_up()
        return list(self.far.asked)


@pytest.fixture
def tiers() -> Tiers:
    """Return two tiers, of which one has stored an entry."""
    return Tiers()


def put(storage: StorageBackend, entry: Entry, ttl: float | None = None) -> Entry:
    """Store an entry under the current epoch."""
    assert storage.put(entry, storage.recall(entry.namespace, entry.key).epoch, ttl).kept
    return entry


def tokens(storage: StorageBackend, key: str = make().key) -> int | None:
    """Return the tokens of the entry that is recalled, or None if there is none."""
    found = storage.recall("n", key).candidate
    return None if found is None else found.entry.tokens


def search(storage: StorageBackend, entry: Entry, threshold: float = 0.5) -> list[str]:
    """Return the prompts that are similar to an entry."""
    assert entry.vector is not None
    return [found.entry.prompt for found in storage.search("n", "p", entry.vector, threshold, 16)]


def test_what_was_read_or_stored_is_not_asked_for_again(tiers: Tiers) -> None:
    """A key is answered without the far storage once this process has stored or read its entry, and whole."""
    entry = put(tiers.ours, make(tokens=7, seconds=1.5))
    for storage, expected in ((tiers.ours, []), (tiers.theirs, ["recall"]), (tiers.theirs, [])):
        assert tiers.asks_of(lambda storage=storage: storage.recall("n", entry.key)) == expected
    tiers.clock.now += 0.5
    (near, far) = (storage.recall("n", entry.key) for storage in (tiers.theirs, tiers.far))
    assert near.candidate is not None
    assert far.candidate is not None
    assert near.candidate.entry == far.candidate.entry._replace(vector=None)
    assert (near.epoch, near.candidate.age, near.candidate.similarity) == (far.epoch, far.candidate.age, 1.0)


@pytest.mark.parametrize("change", ["remove", "invalidate", "replace"])
def test_what_others_change_is_seen_in_time(tiers: Tiers, change: str) -> None:
    """An answer that another process removes or replaces is served until `staleness` has passed, and never after."""
    entry = put(tiers.ours, make(tokens=1))
    tiers.clock.now += 0.25
    began = tiers.clock.now
    other = make("another")
    tiers.theirs.recall("n", other.key)
    assert tokens(tiers.ours, other.key) is None  # asks the far storage
    if change == "replace":
        put(tiers.theirs, entry._replace(tokens=2))
    else:
        assert (tiers.theirs.remove("n", [entry.key]) if change == "remove" else tiers.theirs.invalidate("n")) == 1
    assert tokens(tiers.ours) == 1
    tiers.clock.now = began + STALENESS - 0.001
    assert tokens(tiers.ours) == 1
    tiers.clock.now = began + STALENESS
    assert tokens(tiers.ours, "absent") is None  # learns of what has changed
    assert tokens(tiers.ours) == (2 if change == "replace" else None)
    assert search(tiers.ours, entry) == (["hello"] if change == "replace" else [])


def test_what_this_process_changes_is_seen_at_once(tiers: Tiers) -> None:
    """A process is not served what it has removed or replaced, however short ago."""
    entry = put(tiers.ours, make(tokens=1))
    put(tiers.ours, entry._replace(tokens=2))
    assert tokens(tiers.ours) == 2
    assert tiers.ours.remove("n", [entry.key]) == 1
    assert tokens(tiers.ours) is None
    put(tiers.ours, entry)
    assert tiers.ours.invalidate("n") == 1
    assert tokens(tiers.ours) is None


def test_a_removal_that_fails_drops_copies_all_the_same(tiers: Tiers) -> None:
    """If the far storage cannot be told, the caller learns of it, and is served no copy."""
    entry = put(tiers.ours, make())
    tiers.far.fails = True
    for change in (Remove("n", [entry.key]), Invalidate("n")):
        with pytest.raises(ConnectionError):
            change.on(tiers.ours)
    with pytest.raises(ConnectionError):
        tiers.ours.recall("n", entry.key)


def test_copies_do_not_outlive_a_far_storage_out_of_reach(tiers: Tiers) -> None:
    """Without the far storage copies are served for `staleness` seconds, then its error is raised, and it heals."""
    entry = put(tiers.ours, make(tokens=3))
    tiers.far.fails = True
    tiers.clock.now += STALENESS - 0.001
    assert tokens(tiers.ours) == 3
    tiers.clock.now += 0.001
    with pytest.raises(ConnectionError):
        tiers.ours.recall("n", entry.key)
    tiers.far.fails = False
    assert tokens(tiers.ours) == 3


def test_copies_expire_with_their_entries(tiers: Tiers) -> None:
    """A copy ends when its entry does, whoever made it, and says for how long it will be kept."""
    entry = put(tiers.ours, make(), ttl=0.75)
    tiers.clock.now += 0.5
    assert tokens(tiers.theirs) == 0
    found = tiers.theirs.recall("n", entry.key).candidate
    assert found is not None
    assert (found.age, found.expires_in) == (0.5, 0.25)
    tiers.clock.now += 0.25
    assert tokens(tiers.ours) is None
    assert tokens(tiers.theirs) is None


def test_a_similar_prompt_is_answered_here_if_it_was_asked_before(tiers: Tiers) -> None:
    """The same search is not asked again; another one may find a closer answer that another process has stored."""
    put(tiers.ours, make("one two three four"))
    asked, other = make("one two three five"), make("one two three six")
    assert search(tiers.ours, asked) == ["one two three four"]
    closer = put(tiers.theirs, make("five three two one"))
    assert tiers.asks_of(lambda: search(tiers.ours, asked)) == []
    assert tiers.asks_of(lambda: search(tiers.ours, other)) == ["search"]
    assert search(tiers.ours, asked, threshold=0.4) == [closer.prompt, "one two three four"]
    assert asked.vector is not None
    both = tiers.ours.recall_and_search("n", asked.key, Search("n", "p", asked.vector, 0.5, 16))
    assert both.similar is not None
    assert [each.entry.prompt for each in both.similar] == ["one two three four"]


def test_a_closer_answer_of_another_process_is_found_in_time(tiers: Tiers) -> None:
    """A search is not made again for `staleness` seconds, however often what it found is read anew meanwhile."""
    put(tiers.ours, make("one two three four"))
    asked = make("one two three five")
    assert search(tiers.ours, asked) == ["one two three four"]
    put(tiers.theirs, asked)
    for _ in range(4):
        tiers.clock.now += STALENESS / 4
        tokens(tiers.ours, "another")
        tokens(tiers.ours, make("one two three four").key)
    assert search(tiers.ours, asked) == [asked.prompt, "one two three four"]


def test_two_tiers_may_share_a_near_storage(tiers: Tiers) -> None:
    """Copies of one far storage are never served for another."""
    near = ThreadSafeInMemoryStorage(max_entries=100)
    first, second = (TieredStorage(near, Telling(), staleness=STALENESS, clock=tiers.clock) for _ in range(2))
    put(first, make()._replace(tokens=1))
    assert tokens(first) == 1
    assert (tokens(second), tokens(second)) == (None, None)
    put(second, make()._replace(tokens=2))
    assert (tokens(first), tokens(second)) == (1, 2)


class Broken(ThreadSafeInMemoryStorage):
    """A near storage whose operations of one kind raise."""

    def __init__(self, *broken: str) -> None:
        super().__init__(max_entries=100)
        self.broken = broken

    def _raise_if(self, name: str) -> None:
        if name in self.broken:
            raise OSError(name)

    def recall(self, namespace: str, key: str) -> Recalled:
        """Return an entry, or raise."""
        self._raise_if("recall")
        return super().recall(namespace, key)

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Store an entry, or raise."""
        self._raise_if("put")
        return super().put(entry, epoch, ttl)

    def invalidate(self, namespace: str) -> int:
        """Remove entries, or raise."""
        self._raise_if("invalidate")
        return super().invalidate(namespace)


@pytest.mark.parametrize("broken", ["recall", "put", "invalidate"])
def test_a_near_storage_that_raises_is_no_trouble(tiers: Tiers, broken: str) -> None:
    """What the far storage answers, and has done, is returned all the same, and what was removed is not served."""
    tier = tiers.tier(near=Broken(broken))
    entry = put(tier, make())
    assert (tokens(tier), search(tier, entry)) == (0, ["hello"])
    assert (tokens(tier), search(tier, entry)) == (0, ["hello"])
    put(tier, entry._replace(tokens=7))
    assert tokens(tier) == 7
    assert tier.remove("n", [entry.key]) == 1
    assert (tokens(tier), search(tier, entry)) == (None, [])


def test_large_prompts_are_not_copied(tiers: Tiers) -> None:
    """Copies take a bounded number of bytes each, whatever makes an entry large."""
    entry = put(tiers.ours, make()._replace(prompt="x" * (MAX_COPY_BYTES + 1)))
    assert tiers.asks_of(lambda: tiers.ours.recall("n", entry.key)) == ["recall"]
    assert tiers.asks_of(lambda: tiers.ours.recall("n", entry.key)) == ["recall"]


def test_nothing_found_is_asked_for_again(tiers: Tiers) -> None:
    """What another process stores is found at once by who has found nothing before."""
    entry = make()
    assert (tokens(tiers.ours), search(tiers.ours, entry)) == (None, [])
    put(tiers.theirs, entry)
    assert (tokens(tiers.ours), search(tiers.ours, entry)) == (0, ["hello"])


def test_a_look_up_that_was_overtaken_is_not_trusted(tiers: Tiers) -> None:
    """An old state that arrives after this process has removed the entry brings no copy back."""
    entry = put(tiers.theirs, make())
    steps = tiers.ours._steps(Recall("n", entry.key))
    read = next(steps).on(tiers.far)
    tiers.clock.now += 0.1
    assert tiers.ours.remove("n", [entry.key]) == 1
    tiers.clock.now += 0.1
    other = make("other")
    put(tiers.ours, other)
    with pytest.raises(StopIteration):
        steps.send(read)
    assert tokens(tiers.ours) is None
    assert tiers.asks_of(lambda: tiers.ours.recall("n", other.key)) == []


def test_of_two_copies_the_younger_answer_stays(tiers: Tiers) -> None:
    """An older answer that arrives late does not take the place of a newer one, though nothing was told of either."""
    entry = put(tiers.theirs, make(tokens=1))
    tiers.ours.recall("n", "absent")
    steps = tiers.ours._steps(Recall("n", entry.key))
    read = next(steps).on(tiers.far)
    tiers.far._drop(entry.key)  # to make room
    tiers.clock.now += 0.1
    put(tiers.ours, entry._replace(tokens=2))
    with pytest.raises(StopIteration):
        steps.send(read)
    assert tiers.asks_of(lambda: tokens(tiers.ours)) == []
    assert tokens(tiers.ours) == 2


def test_copies_expire_while_the_machine_sleeps() -> None:
    """A near storage whose clock stands still meanwhile serves no copy that has expired."""
    tiers = Tiers()
    tier = tiers.tier(near=ThreadSafeInMemoryStorage(max_entries=9, clock=lambda: 0.0))
    put(tier, make(), ttl=5.0)
    tiers.clock.now += 5.0
    assert tokens(tier, "absent") is None
    assert tokens(tier) is None


def test_a_copy_is_not_trusted_after_a_store_that_failed(tiers: Tiers) -> None:
    """Whether the entry was replaced is not known then, so the far storage is asked."""
    entry = put(tiers.ours, make())
    epoch = tiers.ours.recall("n", entry.key).epoch
    tiers.far.fails = True
    with pytest.raises(ConnectionError):
        tiers.ours.put(entry, epoch, None)
    tiers.far.fails = False
    tiers.clock.now += 0.1
    assert tiers.asks_of(lambda: tiers.ours.recall("n", entry.key)) == ["recall"]


def test_an_old_state_is_trusted_no_longer_than_its_own_time(tiers: Tiers) -> None:
    """A look-up that ends after a later one serves its copy until `staleness` after its own beginning."""
    entry = put(tiers.theirs, make())
    began = tiers.clock.now
    steps = tiers.ours._steps(Recall("n", entry.key))
    read = next(steps).on(tiers.far)
    tiers.clock.now += 0.1
    assert tiers.theirs.remove("n", [entry.key]) == 1
    tiers.clock.now += 0.1
    assert tokens(tiers.ours) is None
    with pytest.raises(StopIteration):
        steps.send(read)
    tiers.clock.now = began + STALENESS
    assert tokens(tiers.ours) is None


def test_an_answer_older_than_an_invalidation_is_neither_kept_nor_copied(tiers: Tiers) -> None:
    """An epoch that another process has ended meanwhile is refused, though this process has not learnt of it."""
    entry = make()
    epoch = tiers.ours.recall("n", entry.key).epoch
    tiers.theirs.invalidate("n")
    assert not tiers.ours.put(entry, epoch, None).kept
    assert tokens(tiers.ours) is None


def test_a_refused_answer_shows_that_copies_are_out_of_date(tiers: Tiers) -> None:
    """Once an answer is refused as its epoch has ended, look-ups learn of the new one at once, and the next is kept."""
    entry = put(tiers.ours, make())
    tiers.clock.now += 0.1
    tiers.theirs.remove("n", [entry.key])
    epoch = tiers.ours.recall("n", entry.key).epoch
    assert not tiers.ours.put(entry, epoch, None).kept
    tiers.clock.now += 0.1
    recalled = tiers.ours.recall("n", entry.key)
    assert recalled.candidate is None
    assert tiers.ours.put(entry, recalled.epoch, None).kept


def test_what_does_not_fit_is_asked_for_again() -> None:
    """The near storage's bound holds: what had to make room for others is read anew."""
    tiers = Tiers()
    near = ThreadSafeInMemoryStorage(max_entries=2)
    tier = tiers.tier(near=near)
    entries = [put(tier, make(f"prompt {number}")) for number in range(5)]
    assert len(near) == 2
    assert tiers.asks_of(lambda: tier.recall("n", entries[0].key)) == ["recall"]
    huge = put(tier, make("huge")._replace(payload=b"x" * 100_000))
    assert tiers.asks_of(lambda: tier.recall("n", huge.key)) == ["recall"]


def test_a_state_that_is_not_told_is_not_trusted(tiers: Tiers) -> None:
    """Look-ups that do not say how many entries were replaced are all handed on."""
    entry = put(tiers.far, make())
    tiers.far.replaced = None  # type: ignore[assignment]  # what an odd key on a server comes to
    for _ in range(2):
        assert tiers.asks_of(lambda: tiers.ours.recall("n", entry.key)) == ["recall"]


def _in_child(tier: TieredStorage, far: Telling, key: str, told: Any) -> None:
    far.asked.clear()
    found = tier.recall("n", key).candidate
    told.put((found is not None, list(far.asked)))


def test_a_forked_child_asks_for_itself(tiers: Tiers) -> None:
    """A child trusts no copy of its parent's, and serves what it reads."""
    entry = put(tiers.ours, make())
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(tiers.ours, tiers.far, entry.key, told))
    child.start()
    assert told.get() == (True, ["recall"])
    child.join()


@pytest.mark.parametrize(
    ("near", "far", "error", "words"),
    [
        (None, InMemoryStorage(), InvalidTypeError, "tells_changes=True"),
        (None, "redis://", InvalidTypeError, "far is a str"),
        (Telling(), Telling(), InvalidTypeError, "near is a Telling"),
        (InMemoryStorage(), Telling(), InvalidValueError, "max_entries=None"),
    ],
    ids=["silent far", "no far", "near that waits", "near without a bound"],
)
def test_what_cannot_be_trusted_is_refused(near: Any, far: Any, error: type[Exception], words: str) -> None:
    """A storage is refused with the reason and what to use."""
    with pytest.raises(error, match=words):
        TieredStorage(near, far)
    with pytest.raises(InvalidValueError, match="staleness"):
        TieredStorage(None, Telling(), staleness=0)


def test_hits_of_both_kinds_wait_for_nothing(tiers: Tiers, asynchronous: bool) -> None:
    """A decorated function's exact and similar hits ask the far storage once each."""
    options: dict[str, Any] = {"context": {}, "embedder": FakeEmbedder(), "guards": (), "threshold": 0.7}
    calls: list[str] = []

    def respond(prompt: str) -> str:
        calls.append(prompt)
        return f"answer to {prompt}"

    async def arespond(prompt: str) -> str:
        return respond(prompt)

    tier = TieredStorage(None, tiers.far)
    answer: Any = semantic_cache(**options, storage=tier, namespace="n")(arespond if asynchronous else respond)

    def ask(prompt: str) -> str:
        found: str = asyncio.run(answer(prompt)) if asynchronous else answer(prompt)
        return found

    ask("one two three four")
    for prompt, first in (("one two three four", []), ("one two four three", ["recall", "search"])):
        assert tiers.asks_of(lambda prompt=prompt: ask(prompt)) in (first, ["recall"], ["search"])
        assert tiers.asks_of(lambda prompt=prompt: ask(prompt)) == []
    assert calls == ["one two three four"]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "replace", "remove", "invalidate", "recall", "search", "pass"]),
        st.integers(0, 1),
        st.integers(0, 2),
    ),
    max_size=40,
)


@given(STEPS)
def test_nothing_is_served_that_was_gone_for_longer_than_stated(steps: list[tuple[str, int, int]]) -> None:
    """Whatever two processes do, an answer that is served was right at some time within the last `staleness`."""
    tiers = Tiers()
    entries = [make(f"one two three {word}") for word in ("four", "five", "six")]
    gone_since: dict[tuple[str, int], float] = {}
    live: dict[str, int] = {}
    stored_at: dict[str, float] = {}
    version = 0
    for what, which, place in steps:
        storage, entry = (tiers.ours, tiers.theirs)[which], entries[place]
        tiers.clock.now += 0.3 if what == "pass" else 0.001
        now = tiers.clock.now
        if what in ("put", "replace"):
            version += 1
            epoch = tiers.far.recall("n", entry.key).epoch
            if storage.put(entry._replace(tokens=version), epoch, None).kept:
                if entry.key in live:
                    gone_since[entry.key, live[entry.key]] = now
                else:
                    stored_at[entry.key] = now
                live[entry.key] = version
        elif what in ("remove", "invalidate"):
            gone = [entry.key] if what == "remove" else list(live)
            storage.remove("n", gone) if what == "remove" else storage.invalidate("n")
            gone_since |= {(key, live.pop(key)): now for key in gone if key in live}
        elif what in ("recall", "search"):
            recalled = storage.recall("n", entry.key).candidate
            assert entry.vector is not None
            found = list(storage.search("n", "p", entry.vector, 0.5, 16)) if what == "search" else []
            # The entry asked for is the closest to itself.
            if found and found[0].entry.key != entry.key and entry.key in live:
                assert now - stored_at[entry.key] < STALENESS
            for each in [*found, *([] if recalled is None else [recalled])]:
                served = (each.entry.key, each.entry.tokens)
                assert live.get(served[0]) == served[1] or now - gone_since[served] < STALENESS
