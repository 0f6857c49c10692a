"""Exact search among unit vectors, without reading most of them.

`vector_index` keeps the rows and their keys; `scan` finds the rows at or above a threshold; `bounds` has the arithmetic
that excludes rows unread once there are thousands. The in-process storage keeps one index for each partition; `mirrors`
keeps those of storages whose vectors lie elsewhere, within a bound of memory. A plain product over all rows would give
the same answers, and is as fast up to some thousand rows.

To change how rows are stored or learnt from, touch `vector_index`; the tests compare every answer with brute force.
"""
