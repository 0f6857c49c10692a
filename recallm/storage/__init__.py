"""Where entries live.

`base` says what a storage is and which operations it performs; `memory` keeps entries in this process, ``redis`` on a
server that many processes share; ``index`` searches vectors exactly. The engine's drivers perform the operations that
flows yield. Nothing here knows what a threshold means, or of guards and responses.

To add a storage, write a module with a subclass of `StorageBackend` and a ``from_url``, name its scheme in
`recallm.registry.SCHEMES`, and run `recallm.testing.StorageContract` on it.
"""
