"""Stored answers survive the edits of a deployed package that change no answer, and only those."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from benchmarks.deployments import EDITS, Deployments, Edit, deployments_on
from support.redis_servers import COMMANDS, Server, running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not COMMANDS, reason="no Redis server is installed"),
]

SERVICE = """
import os
from recallm import CacheConfig, RedisStorage, semantic_cache
from recallm.testing import FakeEmbedder
called = 0
storage = RedisStorage.from_url(os.environ["SHOP_REDIS"], timeout=20.0)
patient = CacheConfig(cache_timeout_seconds=20.0)
@semantic_cache(context={}, storage=storage, embedder=FakeEmbedder(), config=patient)
def answer(question: str) -> str:
    global called
    called += 1
    return "an answer to " + question
"""
ASK = ("-c", "import {0}.app as app; app.answer('how do I return my order'); print(app.called)")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Return one real server, of whichever kind is installed."""
    with running(next(iter(COMMANDS))) as started:
        yield started


@pytest.fixture(scope="module")
def deployments(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployments]:
    """Return what deploys packages that answer through the server."""
    with deployments_on(server.url, tmp_path_factory.mktemp("deployments") / "deployed") as deploying:
        yield deploying


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edit_keeps_the_answers_exactly_if_it_changes_none(edit: Edit, deployments: Deployments) -> None:
    """After an edit, a fresh process is answered from the store exactly if the contract says so."""
    assert deployments.is_kept(edit) is edit.kept


def test_two_services_of_the_same_lines_never_answer_for_each_other(deployments: Deployments) -> None:
    """Two packages that hold the very same lines share a Redis server and no answer; each keeps its own."""
    files = {f"{name}/{file}": text for name in ("north", "south") for file, text in
             (("__init__.py", ""), ("app.py", SERVICE))}  # fmt: skip
    ran = [deployments.calls(files, (ASK[0], ASK[1].format(name))) for name in ("north", "south", "north", "south")]
    assert ran == [1, 1, 0, 0]
