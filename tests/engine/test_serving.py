"""What came of candidates, added up over those that are tried one after another."""

from __future__ import annotations

import pytest

from recallm.engine.serving import Tried
from recallm.records import Candidate, Entry

FIRST, SECOND = (Candidate(Entry(key, "n", "p", "a prompt", None, b""), 0.95, 1.0) for key in ("first", "second"))


@pytest.mark.parametrize(
    ("before", "later", "told"), [("a.A", "b.B", "a.A"), (None, "b.B", "b.B"), ("a.A", None, "a.A"), (None, None, None)]
)
def test_the_first_class_that_is_unknown_is_told(before: str | None, later: str | None, told: str | None) -> None:
    """Of several candidates whose classes are unknown the first, the most similar, is the one to tell of."""
    assert Tried(unknown=before).and_then(Tried(unknown=later)).unknown == told


def test_what_did_not_serve_is_told_in_order() -> None:
    """Candidates that do not serve are told as they were tried, and whether to go on is what the last one says."""
    tried = Tried(unserved=[(FIRST, "corrupt")]).and_then(Tried(unserved=[(SECOND, "refused")], gave_up=True))
    assert list(tried.unserved) == [(FIRST, "corrupt"), (SECOND, "refused")]
    assert tried.gave_up
    assert tried.hit is None
