"""Entries on a Redis server, shared by a fleet of workers."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from recallm.errors import MissingExtraError, RecallmError


class RedisStorage:
    """Keeps entries on a Redis server. Needs the extra ``redis``; not available in this version.

    Raises:
        MissingExtraError: the extra is not installed.
        RecallmError: this version has no Redis storage.
    """

    def __init__(self, client: Any = None, sync_client: Any = None, **_options: Any) -> None:
        del client, sync_client
        if find_spec("redis") is None:
            raise MissingExtraError('RedisStorage needs the redis client; pip install "recallm[redis]"')
        raise RecallmError("this version of recallm has no Redis storage; use an in-process one")

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Any:
        """Return a storage on the server at `url`."""
        del url
        return cls(**options)
