"""Entries in a SQLite file, shared by the threads, tasks and processes of one machine.

`storage` is the backend. `reads` and `writes` are its operations, on `parts` that they share: the `connections` of a
pool that survives forks, interrupts and a file that is replaced; a `mirror` of the vectors of each partition; a `clock`
that never goes back; the `uses` of entries. `tagging` knows which entries have a tag. `schema` makes the tables
and refuses every file that has others; `file` is the file itself.

To change the tables, raise `schema.VERSION`: files of another version are told of and left alone.
"""

from recallm.storage.sqlite.storage import SQLiteStorage

__all__ = ["SQLiteStorage"]
