"""Where entries live.

`base` says what a storage is and which operations it performs; `memory` keeps entries in this process, ``sqlite`` in a
file that the processes of a machine share, ``redis`` on a server; `tiered` answers from `copies` in this process what a
shared storage has answered; ``index`` searches vectors exactly. `entry_format` encodes entries for storages that others
may write to. The engine's drivers perform the operations that
flows yield. Nothing here knows what a threshold means, or of guards and responses.

To add a storage, write a module with a subclass of `StorageBackend` and a ``from_url``, name its scheme in
`recallm.registry.SCHEMES`, and run `recallm.testing.StorageContract` on it.
"""
