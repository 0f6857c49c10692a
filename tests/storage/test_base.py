"""What holds for every subclass of `StorageBackend`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recallm import semantic_cache
from recallm.records import Candidate, Recalled
from recallm.storage.base import Search, StorageOperation
from recallm.storage.memory import InMemoryStorage
from recallm.testing import FakeEmbedder

if TYPE_CHECKING:
    from recallm.typing import Vector


class BothAtOnce(InMemoryStorage):
    """Makes both look-ups at once."""

    recalls_and_searches = True

    def recall_and_search(self, namespace: str, key: str, search: Search) -> Recalled:
        """Look for both."""
        found = InMemoryStorage.search(
            self, search.namespace, search.partition, search.vector, search.threshold, search.limit
        )
        return self.recall(namespace, key)._replace(similar=found)


class Hides:
    """Finds nothing that is similar."""

    def search(
        self, namespace: str, partition: str, vector: Vector, threshold: float, limit: int | None
    ) -> Sequence[Candidate]:
        """Find nothing."""
        return []


class Hiding(Hides, BothAtOnce):
    """Hides what its base class would find."""


class HidingStill(Hiding):
    """Changes nothing."""


class Awaiting(BothAtOnce):
    """Performs operations in its own way."""

    async def aperform(self, operation: StorageOperation) -> Any:
        """Perform it in place."""
        return operation.on(self)


class HidingAtOnce(Hiding):
    """Makes both look-ups at once again, in its own way."""

    recalls_and_searches = True


def test_both_look_ups_at_once_do_not_go_past_a_subclass() -> None:
    """A subclass that overrides a look-up is asked for each, unless it says that it makes both at once as well."""
    kinds = (BothAtOnce, Hiding, HidingStill, Awaiting, HidingAtOnce)
    assert [kind.recalls_and_searches for kind in kinds] == [True, False, False, False, True]


def test_what_a_subclass_hides_is_not_served() -> None:
    """A cached function is served no similar answer by a storage whose search finds none, however often it is asked."""

    def answers(storage: InMemoryStorage) -> list[str]:
        @semantic_cache(context={}, storage=storage, embedder=FakeEmbedder(), guards=(), store_if=is_first)
        def answer(prompt: str) -> str:
            return f"answer to {prompt}"

        return [answer(prompt) for prompt in ("one two three four", *["four three two one"] * 2)]

    def is_first(response: object) -> bool:
        return response == "answer to one two three four"

    assert answers(BothAtOnce()) == ["answer to one two three four"] * 3
    assert answers(HidingStill()) == ["answer to one two three four", *["answer to four three two one"] * 2]
