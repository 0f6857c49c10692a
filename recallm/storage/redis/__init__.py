"""Entries on a Redis or Valkey server, shared by a fleet of workers.

`storage` is the backend; `clients` has the redis-py clients, `commands` performs generators of steps on them, sync
and async; `server` finds out what the server can do; `keys` names the keys, `entry_format` the fields of an entry;
`layouts` and `mirror` search vectors in three ways; `reads`, `writes` and `sweeping` are the operations, without I/O.

To add a way of searching, write a `layouts.Layout` and name it in `storage`; every server kind runs the contract suite.
"""

from recallm.storage.redis.storage import LayoutName, RedisStorage

__all__ = ["LayoutName", "RedisStorage"]
