"""What tests of the Redis storage start from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.redis_servers import COMMANDS, Server, running


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server of any kind."""
    if not COMMANDS:
        pytest.skip("no Redis server is installed")
    with running(next(iter(COMMANDS))) as started:
        yield started
