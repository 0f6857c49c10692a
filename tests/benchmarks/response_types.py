"""Which types of responses come back equal and of their type: in the process that stored them, and in fresh ones.

Run with ``python tests/benchmarks/response_types.py``. A fresh process asks a real server for what this one stored, and
fills a storage of its own. What is not installed is left out. The program fails if a response comes back as another, or
is refused without the name of the field, or against what `support.response_rows` says of it.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.redis_servers import COMMANDS, running
from support.response_rows import ROWS, Row, are_same

from recallm import CacheConfig, InMemoryStorage, RecallmWarning, RedisStorage, SemanticCache, StorageBackend
from recallm.testing import FakeEmbedder

ABSENT, BACK, REFUSED = "not installed", "comes back", "refused by name"
SAME, ON_REDIS, OF_ITS_OWN = "same process", "fresh, on Redis", "fresh, on its own"
PATIENT = CacheConfig(threshold="exact", cache_timeout_seconds=10.0)


def outcome(name: str, row: Row, storage: StorageBackend, *, filled: bool) -> str:
    """Call a function once, or twice unless the storage is filled, and return what became of its response."""
    calls = 0

    def ask(prompt: str) -> Any:
        nonlocal calls
        calls += 1
        return row.make()

    cache = SemanticCache(storage=storage, config=PATIENT, embedder=FakeEmbedder())
    cached = cache.wrap(ask, context={}, version="1", namespace=name, response_type=row.response_type)
    try:
        expected = row.make()
    except ImportError:
        return ABSENT
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if not filled:
            cached("question")
        response = cached("question")
    told = " ".join(str(each.message) for each in caught if issubclass(each.category, RecallmWarning))
    if row.refused:
        return REFUSED if re.search(row.refused, told) and calls == 1 + (not filled) else f"not refused: {told}"
    if calls != (not filled):
        return f"called again: {told}"
    return BACK if are_same(response, expected) else f"came back as another: {response!r:.100}"


def outcomes(url: str | None, *, filled: bool) -> dict[str, str]:
    """Return what becomes of each row on a server, or on a storage of its own."""
    logging.disable()
    storage = InMemoryStorage() if url is None else RedisStorage.from_url(url)
    found = {}
    for name, row in ROWS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found[name] = outcome(name, row, storage, filled=filled)
    return found


def in_a_fresh_process(url: str | None) -> dict[str, str]:
    """Return the outcomes in another process."""
    command = [sys.executable, __file__, "--child", url or "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def table() -> dict[str, dict[str, str]]:
    """Return for each place the outcome of each row."""
    found = {OF_ITS_OWN: in_a_fresh_process(None)}
    if not COMMANDS:
        return {SAME: outcomes(None, filled=False), **found}
    with running(next(iter(COMMANDS))) as server:
        return {SAME: outcomes(server.url, filled=False), ON_REDIS: in_a_fresh_process(server.url), **found}


def main() -> int:
    """Print the table; return 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    url = parser.parse_args().child
    if url is not None:
        print(json.dumps(outcomes(None if url == "-" else url, filled=url != "-")))
        return 0
    found = table()
    print(f"{'response':24}" + "".join(f"{place:20}" for place in found))
    for name in ROWS:
        print(f"{name:24}" + "".join(f"{found[place][name]:20}" for place in found))
    bad = [
        (name, each)
        for column in found.values()
        for name, each in column.items()
        if each not in (ABSENT, BACK, REFUSED)
    ]
    shown = sum(found[SAME][name] != ABSENT for name in ROWS)
    print(f"{shown} responses in {len(found)} places, {len(bad)} not as they should be")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
