"""Finds the stored entries whose prompts are similar to a text, whichever calls they answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from recallm.config import resolve_threshold
from recallm.errors import InvalidValueError
from recallm.keying.conversation import read

if TYPE_CHECKING:
    from recallm.embedders.managed import ManagedEmbedder
    from recallm.records import Candidate
    from recallm.typing import Profile, Vector

SAME_MODEL = 0.999
"""The cosine of a stored vector and a new one of the same prompt, from which on the same model made both."""


class Similar(NamedTuple):
    """The entries that are similar to a text, and how many were made by other models and cannot be compared."""

    found: list[Candidate]
    of_other_models: int


def similar_entries(
    entries: Iterable[Candidate], text: str, embedder: ManagedEmbedder, threshold: Profile | float
) -> Similar:
    """Return what is similar to a text; all entries of a partition are of one model, which the first of them shows.

    Args:
        entries: where to look.
        text: the text.
        embedder: embeds it; its model is loaded first.
        threshold: the cosine to reach. No guard is asked.

    Raises:
        InvalidValueError: the model cannot represent the text.
        Exception: the embedder's own.
    """
    from recallm.scoring import similarity  # numpy is loaded by whoever embeds first

    floor = resolve_threshold(threshold, embedder.load().thresholds)
    wanted = embedder.embed(text)
    if wanted is None:
        raise InvalidValueError("similar_to is a text that the model cannot represent; use other words, or keys")
    found: list[Candidate] = []
    others = 0
    is_ours: dict[str, bool] = {}
    for candidate in entries:
        entry = candidate.entry
        if entry.vector is None:
            continue
        if entry.partition not in is_ours:
            is_ours[entry.partition] = _is_vector_of(embedder, entry.prompt, entry.vector)
        if not is_ours[entry.partition]:
            others += 1
        elif (cosine := similarity(wanted, entry.vector)) >= floor:
            found.append(candidate._replace(similarity=cosine))
    return Similar(found, others)


def _is_vector_of(embedder: ManagedEmbedder, prompt: str, vector: Vector) -> bool:
    """Return whether this model makes this vector of a stored prompt, or of the last turn of a conversation."""
    from recallm.scoring import similarity

    turns = read(prompt)
    texts = [prompt] if turns is None else [prompt, turns[-1].text]
    made = [embedder.embed(text) for text in texts]
    return any(
        each is not None and each.shape == vector.shape and similarity(each, vector) >= SAME_MODEL for each in made
    )
