"""What tests of the vector index start from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.exact_search import small_sizes


@pytest.fixture
def small() -> Iterator[None]:
    """A test in which the index is made of small parts."""
    with small_sizes():
        yield
