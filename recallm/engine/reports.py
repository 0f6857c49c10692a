"""What the user reports to be wrong: from then on a prompt is answered by its own calls only, in whatever process.

A refusal stands under the prompt's key, where every look-up looks first, so that it costs other prompts nothing. It is
an entry without a prompt, a vector or an expiry. The prompt's own answers then have a key of their own: they expire and
are evicted as all others do, and the refusal remains: a storage that is full keeps it for longer than any answer.
"""

from __future__ import annotations

from hashlib import blake2b

from recallm.engine.decision import sound
from recallm.engine.plan import Flow
from recallm.errors import NotKeptError
from recallm.records import REFUSAL, Entry, Query, Recalled, Stored
from recallm.storage.base import Put, Recall, Remove

ATTEMPTS = 10
"""How often a refusal is stored anew if a call that was under way has put its answer in its place."""


def is_refused(recalled: Recalled, query: Query) -> bool:
    """Claim that a query is answered by its own calls only."""
    found = recalled.candidate
    return found is not None and found.entry.is_refusal and found.entry.key == query.key and sound(found.entry, query)


def own(query: Query) -> Query:
    """Return the query under whose key the own answer of a refused one is stored."""
    return query._replace(key=blake2b(query.key.encode(), digest_size=20, person=b"recallm own").hexdigest())


def refuse(query: Query) -> Flow[None]:
    """Have a query answered by its own calls only, and remove what it was answered with.

    Raises:
        NotKeptError: the storage keeps no refusal, and keeps answers.
        Exception: the storage's own.
    """
    own_keys = (own(query).key,)
    recalled: Recalled = yield Recall(query.namespace, query.key)
    for _ in range(ATTEMPTS):
        if not is_refused(recalled, query):
            stored: Stored = yield Put(_refusal(query), recalled.epoch, None)
            before, recalled = recalled.epoch, (yield Recall(query.namespace, query.key))
            if not stored.kept and recalled.epoch == before:
                break
        # With it an epoch begins, so that no call under way puts its answer in the place of the refusal.
        yield Remove(query.namespace, own_keys)
        recalled = yield Recall(query.namespace, query.key)
        if is_refused(recalled, query):
            return
    if recalled.candidate is not None:
        raise NotKeptError("the storage did not keep what was reported; report it again")


def _refusal(query: Query) -> Entry:
    return Entry(query.key, query.namespace, query.partition, "", None, REFUSAL)
