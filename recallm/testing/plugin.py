"""The pytest plugin: fixtures that keep the answers of one test from the next, or the cache out of it.

pytest loads it wherever recallm is installed, so it imports nothing before a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def recallm_inactive() -> Iterator[None]:
    """Every call goes straight to its function, in every thread and task, as after `recallm.set_active(False)`."""
    from recallm.testing.isolation import switched_off

    with switched_off():
        yield


@pytest.fixture
def recallm_fresh() -> Iterator[None]:
    """The test begins with an empty ``"default"`` storage, in this process, and with statistics that begin anew.

    What other storages in this process hold is removed before and after it; what others share, such as Redis, stays.
    What the test registers or switches is undone.
    """
    from recallm.testing.isolation import isolated

    with isolated():
        yield
