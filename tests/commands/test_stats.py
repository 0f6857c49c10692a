"""``stats``: what Prometheus' text format tells of caches."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from commands.conftest import Ran
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

import recallm
from recallm import InMemoryStorage, semantic_cache
from recallm.telemetry.definitions import DEFINITIONS
from recallm.testing import FakeEmbedder

Run = Callable[..., Ran]


@pytest.fixture
def text() -> Iterator[bytes]:
    """What a process with one cache tells: a miss, a similar hit, an exact hit, a bypass, a report."""
    registry = CollectorRegistry()
    recallm.use_metrics_registry(registry)

    @semantic_cache(
        context={},
        storage=InMemoryStorage(),
        embedder=FakeEmbedder(),
        guards=(),
        name="shop",
        namespace="goods",
        price=lambda response: 0.25,
    )
    def ask(question: str, *, stream: bool = False) -> str:
        return "yes"

    for question in ("what is a refund", "a refund is what", "what is a refund"):
        ask(question)
    ask("what", stream=True)
    assert ask.wrong("a refund is what")
    yield generate_latest(registry)
    recallm.use_metrics_registry(REGISTRY)


@pytest.fixture
def endpoint(text: bytes) -> Iterator[str]:
    """The address of a server that tells it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_of_metrics_is_a_table(run: Run, text: bytes, tmp_path: Path) -> None:
    """Each cache is a line with hits, misses, hit rate, bypasses, errors, wrong answers and what was saved."""
    file = tmp_path / "metrics.txt"
    file.write_bytes(text)
    lines = [line.split() for line in run("stats", str(file)).out.splitlines()]
    assert lines[1][:7] == ["2", "1", "66.7", "%", "1", "0", "1"]
    assert lines[1][-3:] == ["cost", "0.5", "shop"]
    assert lines[-1] == ["2", "goods"]


def test_an_endpoint_is_asked(run: Run, endpoint: str) -> None:
    """An address is fetched; the JSON has what is counted by reason, and averages."""
    shop = run("stats", f"{endpoint}/metrics", "--json").json["caches"]["shop"]
    assert (shop["hits"], shop["misses"], shop["hits_by_tier"]) == (2, 1, {"exact": 1, "semantic": 1})
    assert shop["bypasses"] == {"stream": 1}
    assert (shop["saved_cost"], shop["reported_wrong"], shop["audited"]) == (0.5, 1, {})
    assert shop.keys() >= {each.name for each in DEFINITIONS.values() if not each.buckets}
    assert 0.99 < shop["avg_similarity"] <= 1.0
    assert shop["avg_lookup_seconds"] > 0


def test_one_cache_is_told_by_reason(run: Run, text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--cache`` shows what is counted by reason; ``-`` is the standard input."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(text.decode()))
    lines = [line.split() for line in run("stats", "-", "--cache", "shop").out.splitlines()]
    assert ["1", "hit", "semantic"] in lines
    assert ["1", "bypass", "stream"] in lines


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("", 1, "no metrics of recallm are there"),
        ("process_cpu_seconds_total 1.0\n", 1, "no metrics of recallm are there"),
        ("<html>what is this</html>\n", 2, "this is not Prometheus' text format"),
    ],
)
def test_a_text_without_caches_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, text: str, code: int, told: str
) -> None:
    """A text that tells of no cache gives 1, and one of another format an error."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    ran = run("stats", "-")
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err


def test_an_endpoint_that_does_not_answer_is_told_without_its_password(run: Run, endpoint: str) -> None:
    """An address that gives nothing is an error in one line, in which no password stands."""
    for address in (f"{endpoint}/other", "http://ada:secretword@127.0.0.1:1/metrics"):
        ran = run("stats", address)
        assert ran.code == 2
        assert ran.err.startswith("recallm: error: the endpoint does not answer")
        assert "secretword" not in ran.err
