"""Entries on a Redis or Valkey server, shared by a fleet of workers.

`storage` is the backend. The operations are generators of steps, without I/O: `reads`, `writes` and `sweeping`.
`commands` performs steps on the redis-py clients of `clients`, sync and async. `server` finds out what the server can
do, `keys` names its keys, `layouts` and `mirror` search vectors in three ways; `recallm.storage.entry_format` encodes
entries, and `scripts` saves round trips where the user may run scripts.

To add a way of searching, write a `layouts.Layout` and name it in `storage`; the contract suite runs on every server.
"""

from recallm.storage.redis.storage import LayoutName, RedisStorage

__all__ = ["LayoutName", "RedisStorage"]
