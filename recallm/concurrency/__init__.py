"""Threads, time limits, circuits, single flight and forks; this room knows nothing of caches.

`workers` run tasks that may hang, `timeouts` bounds the wait for them in place and on an event loop, `breaker` says
when to skip a part that keeps failing, `coalescing` lets concurrent calls wait for one, and `forking` renews locks in
forked children. Storages, embedders, telemetry and the engine use them.

To add background work, submit it to a `Workers`; to add a lock that a forked child may need, use a `ForkSafeLock`.
"""
