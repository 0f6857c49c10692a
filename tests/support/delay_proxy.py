"""A TCP proxy in front of a Redis server that delays what passes, and counts round trips, commands and bytes."""

from __future__ import annotations

import queue
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

CHUNK = 1 << 18


@dataclass(slots=True)
class Traffic:
    """What has passed.

    Attributes:
        round_trips: how often a client began to send after it had been sent something, or for the first time.
        commands: how many commands clients sent.
        sent: how many bytes clients sent.
        received: how many bytes the server sent.
        connections: how many connections there were.
    """

    round_trips: int = 0
    commands: int = 0
    sent: int = 0
    received: int = 0
    connections: int = 0


class CommandCounter:
    """Counts the commands in a client's bytes, which come in pieces: arrays of strings, each with its length."""

    def __init__(self) -> None:
        self._buffer = b""
        self._skip = 0
        self._strings = 0

    def feed(self, data: bytes) -> int:
        """Take the next bytes; return how many commands begin in them."""
        self._buffer += data
        commands = 0
        while True:
            if self._skip:
                dropped = min(self._skip, len(self._buffer))
                self._buffer, self._skip = self._buffer[dropped:], self._skip - dropped
            line, end, rest = self._buffer.partition(b"\r\n")
            if self._skip or not end:
                return commands
            self._buffer = rest
            if self._strings:
                self._strings -= 1
                self._skip = int(line[1:]) + 2
            else:
                commands += 1
                self._strings = int(line[1:])


class DelayProxy:
    """Hands bytes on to a server on this machine, half a round trip later in each direction.

    Args:
        port: the port of the server.
        round_trip_ms: how long a round trip takes beside what the server takes.

    Attributes:
        port: the port to connect to.
        round_trip_ms: see above; it may be changed at any time.
        traffic: what has passed since `reset`.
    """

    def __init__(self, port: int, round_trip_ms: float = 0.0) -> None:
        self.round_trip_ms = round_trip_ms
        self.traffic = Traffic()
        self._server_port = port
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self) -> None:
        """Count from zero; connections stay."""
        with self._lock:
            self.traffic = Traffic()

    def close(self) -> None:
        """Listen no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server_port))
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.traffic.connections += 1
            answered = threading.Event()
            answered.set()
            self._start_way(client, server, answered, CommandCounter())
            self._start_way(server, client, answered, None)

    def _start_way(
        self, source: socket.socket, sink: socket.socket, answered: threading.Event, counter: CommandCounter | None
    ) -> None:
        """Hand on what comes from one side.

        Args:
            source: where it comes from.
            sink: where it goes.
            answered: whether the client has been sent something since it last began to send.
            counter: counts the commands; None: it comes from the server.
        """
        waiting: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

        def read() -> None:
            with suppress(OSError):
                while data := source.recv(CHUNK):
                    waiting.put((time.perf_counter() + self.round_trip_ms / 2000, data))
                    self._count(data, answered, counter)
            waiting.put((0.0, b""))

        def write() -> None:
            with suppress(OSError):
                while (item := waiting.get())[1]:
                    time.sleep(max(0.0, item[0] - time.perf_counter()))
                    sink.sendall(item[1])
            for each in (source, sink):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            source.close()

        for way in (read, write):
            threading.Thread(target=way, daemon=True).start()

    def _count(self, data: bytes, answered: threading.Event, counter: CommandCounter | None) -> None:
        with self._lock:
            if counter is None:
                self.traffic.received += len(data)
                answered.set()
                return
            self.traffic.sent += len(data)
            self.traffic.commands += counter.feed(data)
            if answered.is_set():
                self.traffic.round_trips += 1
                answered.clear()
