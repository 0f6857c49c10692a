"""Scripts that the server runs, where the user may run any: they save round trips, and nothing needs them.

Each does what its caller else does in several steps, and gives the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from recallm.storage.redis.exchanges import Argument, Command
from recallm.storage.redis.keys import EntryVersion, GenerationKeys

PROBE = "return 1"
"""Tells whether the user may run scripts."""

SEARCH = """
local rows = {}
for place, element in ipairs(redis.call('VSIM', KEYS[1], unpack(ARGV, 2))) do
  local digest = element:sub(13):gsub('.', function(c) return string.format('%02x', c:byte()) end)
  rows[place] = {element, redis.pcall('HMGET', ARGV[1] .. digest, 'i', 'm', 't', 'y', 'v', 's')}
end
return rows
"""
"""Searches a vector set, and reads the entries that are found.

ARGV[1] is what the keys of entries begin with; the arguments of VSIM follow. The digest of an entry's key follows the
12 bytes of the id in an element.
"""

STORE = """
local epoch, lasts = redis.call('HMGET', KEYS[1], 'g', 'n', 'k'), redis.call('PTTL', KEYS[1])
local current = redis.call('HGET', KEYS[2], 'i') or ''
if epoch[1] ~= ARGV[1] or (epoch[2] or '0') ~= ARGV[2] or current ~= ARGV[3] then
  return {0, epoch[1], epoch[2], current, redis.call('ZCARD', KEYS[3])}
end
local expired, dead = redis.call('ZCOUNT', KEYS[3], '-inf', ARGV[4]), redis.call('SCARD', KEYS[4])
local lasting, record, at = epoch[3] and lasts == -1, '', 7
while ARGV[at] do
  local when, last, rest = ARGV[at], at + 1 + ARGV[at + 1], {}
  for place = at + 4, last do
    rest[#rest + 1] = ARGV[place] == ARGV[6] and ARGV[6] .. record or ARGV[place]
  end
  if when == 'A' or not lasting and (when == 'L' or lasts < tonumber(ARGV[5])) then
    local reply = redis.pcall(ARGV[at + 2], KEYS[tonumber(ARGV[at + 3])], unpack(rest))
    if type(reply) == 'table' and reply.err then return reply end
    if ARGV[at + 2] == 'XADD' then record = reply end
  end
  at = last + 1
end
return {1, redis.call('ZCARD', KEYS[3]), expired, dead, record}
"""
"""Performs the commands that store an entry if the epoch, and what the entry's key holds, are what is expected.

KEYS: the epoch, the entry, the versions, the dead generations, and the others that commands name. ARGV: the epoch's
generation and number of removals, the packed version expected under the key (empty: none), the time by which versions
have expired, how many ms of life are enough for the epoch, and the packed version to store; the id of the record that a
command appends to a stream is put after it. Then, for each command: when to perform it (see `When`), how many arguments
it has with its name, its name, the number of its key, and the rest.
"""

EVICT = """
local function hex(bytes)
  return (bytes:gsub('.', function(c) return string.format('%02x', c:byte()) end))
end
local excess = math.min(redis.call('ZCARD', KEYS[1]) - ARGV[1], ARGV[2])
local gone, count = {}, 0
if excess > 0 then gone = redis.call('ZRANGE', KEYS[1], 0, excess - 1) end
for _, packed in ipairs(gone) do
  local name, partition = ARGV[3] .. hex(packed:sub(13, 28)), packed:sub(29, 44)
  local index, stream = ARGV[4] .. hex(partition), ARGV[5] .. hex(partition)
  if redis.call('HGET', name, 'i') == packed then count = count + redis.call('UNLINK', name) end
  redis.call('ZREM', KEYS[1], packed)
  if ARGV[6] == 'vectorset' then redis.call('VREM', index, packed:sub(1, 28)) end
  if ARGV[6] == 'plain' and #packed > 44 then redis.call('XDEL', stream, packed:sub(45)) end
  if ARGV[6] ~= 'search' and redis.call('XLEN', stream) == 0 and redis.call('PTTL', index) == -2 then
    redis.call('HDEL', KEYS[2], partition)
    redis.call('UNLINK', stream)
  end
end
return {redis.call('ZCARD', KEYS[1]), count, gone}
"""
"""Removes the entries beyond a number, as `sweeping.make_room` does.

KEYS: the versions and the dimensions. ARGV: how many entries there may be, how many to remove at the most, what the
keys of entries, of vector sets and of streams begin with, and the name of the layout. A packed version is its id, its
key's digest, its partition's and its record's id, see `keys.EntryVersion`. Returns how many entries are left, how many
were removed, and the packed versions that are gone.
"""

When: TypeAlias = Literal["A", "L", "E"]
"""When a command of `STORE` is performed: always; unless some entry of the generation lasts for ever; or if, besides,
the epoch does not live long enough."""

_FOR_EVER = 1 << 53
"""More ms than any key lives."""


@dataclass(frozen=True, slots=True)
class Store:
    """What `STORE` is asked to do.

    Attributes:
        keys: the keys of the generation.
        removals: the number of removals of the epoch in which the entry may be stored.
        version: the version that is stored.
        commands: what to perform, and when; each has one key, its first argument.
        now: the time by the server's clock in ms.
        enough_ms: how long the epoch must live; None: for ever.
    """

    keys: GenerationKeys
    removals: int
    version: EntryVersion
    commands: Sequence[tuple[When, Command]]
    now: int
    enough_ms: int | None

    def command(self, current: bytes) -> Command:
        """Return the command that runs the script, given the packed version that the entry's key holds."""
        keys, namespace_keys = self.keys, self.keys.namespace_keys
        named = [namespace_keys.epoch, keys.entry(self.version.key), keys.versions, namespace_keys.dead]
        named += [str(command[1]) for _, command in self.commands]
        places = {key: place for place, key in enumerate(dict.fromkeys(named), 1)}
        enough_ms = _FOR_EVER if self.enough_ms is None else self.enough_ms
        arguments: list[Argument] = [keys.generation, self.removals, current, f"({self.now}", enough_ms]
        arguments.append(self.version.pack())
        for when, (name, key, *rest) in self.commands:
            arguments += [when, 2 + len(rest), name, places[str(key)], *rest]
        return ("EVAL", STORE, len(places), *places, *arguments)


def evict(layout: str, keys: GenerationKeys, max_entries: int, at_once: int) -> Command:
    """Return the command that runs `EVICT`."""
    begins = (keys.entries, keys.index(b""), keys.stream(b""))
    return ("EVAL", EVICT, 2, keys.versions, keys.dims, max_entries, at_once, *begins, layout)
