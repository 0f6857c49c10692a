"""What tests of commands start from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from support import small_app
from support.redis_servers import COMMANDS, Server, running

import recallm
from recallm.__main__ import main

STORAGE = "support.small_app:storage"


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command in this process."""

    def run(*words: str) -> Ran:
        capsys.readouterr()
        code = main(words)
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture(autouse=True)
def _emptied() -> Iterator[None]:
    """Begin with an empty storage, and with the program's model as the default one."""
    recallm.set_default_embedder(small_app.embedder)
    yield
    recallm.set_default_embedder(None)
    for namespace in small_app.storage.namespaces():
        small_app.storage.invalidate(namespace)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server of any kind."""
    if not COMMANDS:
        pytest.skip("no Redis server is installed")
    with running(next(iter(COMMANDS))) as started:
        yield started
