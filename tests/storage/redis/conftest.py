"""What tests of the Redis storage start from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.redis_servers import COMMANDS, Server, running

SERVERS = {"redis_server", "server", "cluster", "sentinel"}
"""The fixtures that start servers."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a real server."""
    for item in items:
        if not SERVERS.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("redis")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server of any kind."""
    if not COMMANDS:
        pytest.skip("no Redis server is installed")
    with running(next(iter(COMMANDS))) as started:
        yield started
