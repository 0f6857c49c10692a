"""Where a cache's events go: statistics, metrics, the log, one-time warnings and recordings.

`recorder` hands each event of a cache to `stats` (the `CacheStats` that users read), `metrics` (Prometheus) and `log`;
`advice` warns authors of what keeps their calls from being cached; `recording` writes down which prompts were
compared; `proof` says which similar hits are audited and what the audits prove, by means of `intervals`. The engine's
call sites feed them; whatever fails in here never reaches a call.

Nothing in here holds a lock in a call, as a signal handler or finalizer may strike at any step and use the cache:
counts go into a `journal`, which `metrics` reads on a scrape, or `multiprocess` mirrors for other processes.

To add a metric, add a field to `CacheStats` and a case to `increments`, both in `stats`.
"""
