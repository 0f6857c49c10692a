"""Which stored conversations may answer another one: what `decision` asks of turns before the last if these may differ.

Conversations that share one partition have as many turns, by the same roles, so each turn has one to be compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from recallm.config import resolve_threshold
from recallm.guards.history import histories_agree, places_agree
from recallm.keying.conversation import read
from recallm.records import Candidate, Query, Turn
from recallm.typing import PROFILES

if TYPE_CHECKING:
    from recallm.typing import Threshold, Vector

HISTORY = "history"
"""The name under which the vetoes are counted of candidates whose history differs too much."""

ASSISTANT_COSINE = 0.80
"""The cosine that the last turns of two assistants must reach, by a model whose "balanced" is that of `PROFILES`."""

HISTORY_COSINE = 0.50
"""The cosine that each turn of two histories must reach, likewise."""

MOST_HISTORIES = 8
"""How many candidates with another history are judged: eight of 7,000 characters each take some 30 ms."""

MOST_TURNS = 32
"""How many texts are embedded for one call to compare histories. Those of its own were mostly embedded for the turns
before; candidates for which no room is left are not served."""

Refuse: TypeAlias = Callable[[str, str], "str | None"]
"""(prompt, cached prompt) -> the name of the guard that refuses them, or None."""

Vectors: TypeAlias = "Mapping[str, Vector | None]"
"""By text, its vector; None if it may match exactly only."""


class Floors(NamedTuple):
    """The cosines that turns must reach, see `ASSISTANT_COSINE` and `HISTORY_COSINE`."""

    assistant: float = ASSISTANT_COSINE
    history: float = HISTORY_COSINE


def floors(threshold: Threshold, calibrated: Mapping[str, float]) -> Floors:
    """Return the floors on the scale of a model, which its calibrated "balanced" tells, or a threshold by number.

    By some models all texts are alike: what is the half of the way to 1.0 for others lies close to 1.0 for them.

    >>> floors("loose", {"balanced": 0.98})
    Floors(assistant=0.95, history=0.875)
    """
    balanced = resolve_threshold("balanced", calibrated)
    if not isinstance(threshold, str):
        balanced = max(balanced, threshold)
    share = min(1.0, (1.0 - balanced) / (1.0 - PROFILES["balanced"]))
    return Floors(*(round(1.0 - (1.0 - floor) * share, 6) for floor in Floors()))


class Conversation(NamedTuple):
    """A candidate with its turns beside those of the call.

    Attributes:
        candidate: the candidate.
        turns: of each turn the call's and the candidate's; the prompts come last.
    """

    candidate: Candidate
    turns: tuple[tuple[Turn, Turn], ...]

    @property
    def has_same_history(self) -> bool:
        """Whether all turns before the prompts are equal."""
        return all(one == other for one, other in self.turns[:-1])

    def refusal(self, refuse: Refuse) -> str | None:
        """Return who refuses this candidate by what the texts say; None: nobody.

        The guards are asked about each turn that differs, not only about the prompts: "I am allergic to nuts" decides
        over all that follows.
        """
        one, other = self.turns[-1]
        by = refuse(one.text, other.text)
        if by is not None or self.has_same_history:
            return by
        ours, theirs = zip(*self.turns[:-1], strict=True)
        if len(self.texts()) > MOST_TURNS or not histories_agree(ours, theirs):
            return HISTORY
        if not places_agree(ours, theirs, (one.text, other.text)):
            return HISTORY
        return HISTORY if any(refuse(a.text, b.text) for a, b in self.turns[:-1]) else None

    def texts(self) -> set[str]:
        """Return the texts whose vectors tell how similar the histories are."""
        return {turn.text for pair in self.turns[:-1] if pair[0] != pair[1] for turn in pair}

    def is_similar(self, vectors: Vectors, least: Floors) -> bool:
        """Claim that the histories are similar; without a vector a text is only similar to itself."""
        wanted = least.assistant
        for one, other in reversed(self.turns[:-1]):
            if _cosine(one.text, other.text, vectors) < (wanted if one.role == "assistant" else least.history):
                return False
            if one.role == "assistant":
                wanted = least.history
        return True


def conversations(query: Query, candidates: Sequence[Candidate]) -> list[Conversation]:
    """Return the candidates that are judged: those with the call's own history first, then the most similar.

    One whose turns cannot be read, or are not as many by the same roles, is none.
    """
    ours = read(query.prompt) or ()
    found = []
    for candidate in candidates:
        theirs = read(candidate.entry.prompt) or ()
        if ours and [turn.role for turn in ours] == [turn.role for turn in theirs]:
            found.append(Conversation(candidate, tuple(zip(ours, theirs, strict=True))))
    found.sort(key=lambda each: (not each.has_same_history, -each.candidate.similarity))
    return found[: MOST_HISTORIES + sum(each.has_same_history for each in found)]


def to_embed(query: Query, undecided: Sequence[Candidate]) -> tuple[str, ...]:
    """Return the texts that have to be embedded to settle which candidates may serve, those of the best first."""
    texts: dict[str, None] = {}
    for each in conversations(query, undecided):
        more = texts | dict.fromkeys(sorted(each.texts()))
        if len(more) > MOST_TURNS:
            break
        texts = more
    return tuple(texts)


def _cosine(one: str, other: str, vectors: Vectors) -> float:
    """Return the cosine of two texts, or the lowest one in doubt."""
    if one == other:
        return 1.0
    ours, theirs = vectors.get(one), vectors.get(other)
    return -1.0 if ours is None or theirs is None or ours.size != theirs.size else float(ours @ theirs)
