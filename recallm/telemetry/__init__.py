"""Where a cache's events go: statistics, metrics, the log, one-time warnings and recordings.

`recorder` hands each event of a cache to `stats` (the `CacheStats` that users read), `metrics` (Prometheus) and `log`;
`advice` warns authors of what keeps their calls from being cached; `recording` writes down which prompts were
compared. The engine's call sites feed them; whatever fails in here never reaches a call.

To add a metric, add a field to `CacheStats` and a case to `increments`, both in `stats`.
"""
