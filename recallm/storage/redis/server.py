"""What a process knows of a Redis server: its layout, its clock, and the generations of its namespaces."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from recallm.concurrency.forking import ForkSafeLock
from recallm.errors import RecallmError
from recallm.storage.redis.commands import Batch, Exec, Operation, Watch, checked, is_odd_key, is_refusal, readable
from recallm.storage.redis.exchanges import Command
from recallm.storage.redis.keys import NamespaceKeys
from recallm.storage.redis.layouts import Layout
from recallm.storage.redis.scripts import PROBE

ATTEMPTS = 16
"""How often a transaction is tried whose watched keys change: who stores an entry watches the entry and its epoch."""

TRUST_SECONDS = 60.0
"""How long the server's layout and clock are believed: clocks drift apart by a few ms, and asking takes round trips.

A server that is replaced by another kind usually cuts connections, and any error has both asked for at once.
"""

DAY_MS = 86_400_000
HOUR_MS = 3_600_000

_MAX_GENERATIONS = 10_000
"""How many namespaces' generations are remembered; one that was dropped costs a round trip more."""

_MAX_PRESENT = 20_000
"""How many keys are remembered that were there: a look-up that knows the prompt's vector searches for the others."""

_TICKS_A_MS = 1 << 16
"""The steps into which two bytes of an id divide a millisecond."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What a namespace's epoch is made of.

    Attributes:
        generation: the generation's name, 16 hexadecimal digits; every invalidation begins another one.
        removals: how many removals of single entries the generation has seen.
    """

    generation: str
    removals: int

    @property
    def number(self) -> int:
        """The epoch as an int: no two of a namespace are equal, even if the server forgot the others."""
        return int(self.generation, 16) << 64 | self.removals

    @classmethod
    def of_number(cls, number: int) -> Epoch:
        """Return the epoch that has this number."""
        return cls(f"{number >> 64:016x}", number & (1 << 64) - 1)

    @classmethod
    def parse(cls, reply: Any) -> Epoch | None:
        """Return the epoch in the reply to `read_epoch`, or None if there is none or its key holds something else.

        Raises:
            Exception: the reply is another error.
        """
        (values,) = readable([reply])
        try:
            name, removals = values[0].decode("ascii"), int(values[1] or 0)
            is_generation = len(name) == 16 and f"{int(name, 16):016x}" == name
            if is_generation and values[1] in (None, b"%d" % removals) and 0 <= removals < 1 << 64:
                return cls(name, removals)
        except (AttributeError, TypeError, ValueError):
            pass
        return None


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What was found out about a server.

    Attributes:
        layout: the layout to use.
        offset_ms: how far the server's clock is ahead of this process's monotonic clock.
        until: when it must be found out again, in seconds of the monotonic clock.
        scripts: whether the user may run scripts; None: that is not known yet.
    """

    layout: Layout
    offset_ms: float
    until: float
    scripts: bool | None = None


def read_epoch(namespace_keys: NamespaceKeys) -> Command:
    """Return the command that reads an epoch, for `Epoch.parse` and `replacements`.

    The third value says that some entry never expires.
    """
    return ("HMGET", namespace_keys.epoch, "g", "n", "k", "r")


def count_removal(namespace_keys: NamespaceKeys) -> Command:
    """Return the command that begins another epoch of the same generation."""
    return ("HINCRBY", namespace_keys.epoch, "n", _some())


def count_change(namespace_keys: NamespaceKeys) -> Command:
    """Return the command by which others learn that an entry is not there any more: copies may be kept elsewhere.

    It belongs in the transaction that takes the entry away, as who sees the new number trusts what it reads after.
    """
    return ("HINCRBY", namespace_keys.epoch, "r", _some())


def _some() -> int:
    """Return how much is added: a server that lost a change in a failover does not come to the same number by another.

    Of 64 bits, 43 are left to count with.
    """
    return 1 + secrets.randbits(20)


def replacements(reply: Any) -> int | None:
    """Return the number of `count_change` in an epoch, given the reply to `read_epoch`; None: that is not known."""
    try:
        return int(reply[3] or 0)
    except (TypeError, ValueError, IndexError):
        return None


class ServerState:
    """Caches what is known of the server: its layout, its clock, and the generations of namespaces.

    Layout and clock are found out by trying, and again after an error and every `TRUST_SECONDS`.

    Args:
        prefix: the storage's prefix, with which every key starts.
        layouts: the layouts by their names, the preferred ones first, "plain" among them.
        chosen: the name of the layout to use; None: the first that the server supports.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        prefix: str,
        layouts: Mapping[str, Layout],
        *,
        chosen: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.layouts = layouts
        self.prefix = prefix
        self._chosen = chosen
        self._clock = clock
        self._info: ServerInfo | None = None
        self._generations: OrderedDict[str, str] = OrderedDict()
        self._present: OrderedDict[tuple[str, str], None] = OrderedDict()
        # A signal handler may store an entry while its thread holds this.
        self._id_lock = ForkSafeLock()
        self._last_tick = 0

    @property
    def current_layout(self) -> Layout | None:
        """The layout in use, or None if it is yet to be found out."""
        return None if self._info is None else self._info.layout

    @property
    def scripts(self) -> bool | None:
        """Whether the user may run scripts; None: that is not known yet."""
        return None if self._info is None else self._info.scripts

    def learn_scripts(self, *, allowed: bool) -> None:
        """Remember whether the user may run scripts, until the layout is found out again."""
        if self._info is not None:
            self._info = replace(self._info, scripts=allowed)

    def script_probe(self, namespace_keys: NamespaceKeys) -> list[Command]:
        """Return the command that tells whether the user may run scripts, to be sent along, if that is not known."""
        return [("EVAL", PROBE, 1, namespace_keys.epoch)] if self.scripts is None else []

    def learn_from_probe(self, reply: object) -> None:
        """Remember what the reply to `script_probe` says, if it says anything."""
        if is_refusal(reply) or not isinstance(reply, Exception):
            self.learn_scripts(allowed=not is_refusal(reply))

    def expire(self) -> None:
        """Have the layout and the clock found out again before the next operation."""
        if self._info is not None:
            self._info = replace(self._info, until=0.0)

    def now_ms(self) -> int:
        """Return the time by the server's clock, in ms since 1970."""
        return int(self._exact_ms())

    def _exact_ms(self) -> float:
        return self._clock() * 1000 + (0.0 if self._info is None else self._info.offset_ms)

    def new_id(self) -> bytes:
        """Return the id of a new version of an entry: 12 bytes that sort after all ids returned before.

        Six bytes are the time in ms by the server's clock, so that the ids of all processes sort by age; two are the
        fraction of that ms, or the next number if the clock is coarse or went back; four are random, so that no other
        process makes the same id.
        """
        with self._id_lock:
            tick = self._last_tick = max(int(self._exact_ms() * _TICKS_A_MS), self._last_tick + 1)
        return tick.to_bytes(8) + secrets.token_bytes(4)

    def layout(self) -> Operation[Layout]:
        """Return the layout to use; ask the server for it, and for the time, if they are not known."""
        info, now = self._info, self._clock()
        if info is not None and now < info.until:
            return info.layout
        began = self._clock()
        reply = yield from _try_command(("TIME",))
        # A server that does not tell the time is taken to have this machine's.
        offset_ms = (time.time() - began) * 1000
        if reply is not None:
            seconds, micros = reply
            offset_ms = (int(seconds) + int(micros) / 1e6 - (began + self._clock()) / 2) * 1000
        name = self._chosen or (yield from self._supported_layout())
        self._info = ServerInfo(self.layouts[name], offset_ms, now + TRUST_SECONDS)
        return self._info.layout

    def _supported_layout(self) -> Operation[str]:
        """Return the name of the first layout whose commands the server performs."""
        probes: dict[str, Command] = {"vectorset": ("VCARD", f"{self.prefix}:probe"), "search": ("FT._LIST",)}
        for name, probe in probes.items():
            if name in self.layouts and (yield from _try_command(probe)) is not None:
                return name
        return "plain"

    def generation(self, namespace: str) -> str | None:
        """Return the generation that the namespace had when it was last read, or None if that is not known."""
        return self._generations.get(namespace)

    def remember(self, namespace: str, generation: str) -> None:
        """Remember a namespace's generation."""
        self._generations[namespace] = generation
        if len(self._generations) > _MAX_GENERATIONS:
            self._generations.popitem(last=False)

    def expects(self, namespace: str, key: str) -> bool:
        """Return whether a key was there when this process last looked for it, or stored it."""
        return (namespace, key) in self._present

    def note(self, namespace: str, key: str, *, present: bool) -> None:
        """Remember whether a key is there."""
        self._present.pop((namespace, key), None)
        if present:
            self._present[namespace, key] = None
            if len(self._present) > _MAX_PRESENT:
                self._present.popitem(last=False)

    def epoch(self, namespace_keys: NamespaceKeys, *, odd: str | None = None) -> Operation[Epoch]:
        """Return a namespace's epoch; begin one if it has none.

        Args:
            namespace_keys: the keys of the namespace.
            odd: a generation that has ended if it is still the current one, as a key of it holds something else than
                expected: the next generation has other keys.

        Raises:
            RecallmError: others changed the epoch at every attempt.
        """
        reads = [read_epoch(namespace_keys), ("SCARD", namespace_keys.dead)]
        for _ in range(ATTEMPTS):
            reply, dead = yield Watch([namespace_keys.epoch], reads)
            epoch = Epoch.parse(reply)
            if epoch is None or epoch.generation == odd:
                if self.generation(namespace_keys.namespace) is not None:
                    # A server that has forgotten an epoch may be another one by now.
                    self.expire()
                epoch = Epoch(secrets.token_hex(8), 0)
                ended = odd or (self.generation(namespace_keys.namespace) if reply != [None] * 4 else None)
                retire = [] if ended is None else retire_generation(namespace_keys, ended, heal=is_odd_key(dead))
                begun = yield Exec([*begin_epoch(namespace_keys, epoch.generation), *retire])
                if begun is None:
                    continue
                checked(begun)
            self.remember(namespace_keys.namespace, epoch.generation)
            return epoch
        raise too_much_contention(namespace_keys)


def begin_epoch(namespace_keys: NamespaceKeys, generation: str) -> list[Command]:
    """Return the commands that begin an epoch, which is forgotten if nothing is stored under it for a day."""
    key = namespace_keys.epoch
    return [("UNLINK", key), ("HSET", key, "g", generation, "n", 0), ("PEXPIRE", key, DAY_MS)]


def retire_generation(namespace_keys: NamespaceKeys, generation: str, *, heal: bool) -> list[Command]:
    """Return the commands that have a generation swept.

    Args:
        namespace_keys: the keys of the namespace.
        generation: the generation's name.
        heal: whether the key of the invalidated generations holds something else, and is deleted first.
    """
    healed: list[Command] = [("UNLINK", namespace_keys.dead)] if heal else []
    return [*healed, ("SADD", namespace_keys.dead, generation)]


def too_much_contention(namespace_keys: NamespaceKeys) -> RecallmError:
    """Return the error for a transaction whose watched keys others changed at every attempt."""
    return RecallmError(
        f"the epoch of namespace {namespace_keys.namespace!r} changed {ATTEMPTS} times during one operation"
    )


def _try_command(command: Command) -> Operation[Any]:
    """Return the reply to a command, or None if the server does not know it or the user may not use it.

    That a key holds something else than the command expects is a reply too.
    """
    try:
        (reply,) = yield Batch([command])
    except Exception as error:  # noqa: BLE001  # a cluster's client does not even send what is unknown
        reply = error
    if is_refusal(reply):
        return None
    return reply if is_odd_key(reply) else checked([reply])[0]
