"""Threads, time limits, circuits, single flight and forks; this room knows nothing of caches.

`workers` run tasks that may hang, `timeouts` bounds the wait for them in place and on one of the `event_loops`,
`signals` tells what ends a wait from how the task ended, `breaker` says when to skip a part that keeps failing,
`coalescing` lets concurrent calls wait for one, `once` and `turns` let one caller do what several want done, `memo`
keeps values in bounded memory, and `forking` renews locks in forked children. All other rooms may use them.

A signal handler or a finalizer may call a cached function at any step of this, so hold no lock while Python runs.

To add background work, submit it to a `Workers`; to guard a few operations on a dict, use a `ForkSafeLock`. Look up
what green threads replace (`threading.Lock`, `queue.SimpleQueue`, `time.sleep`) at run time, not at import.
"""
