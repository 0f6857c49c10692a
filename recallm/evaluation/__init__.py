"""How often a cache would be right: on labelled pairs, ahead of its use.

`pairs` reads labelled pairs, `judge` says what a cache would do with each, `evaluate` counts over thresholds, `tune`
chooses one, and `plot` draws it; `recallm.telemetry.intervals` says how sure that is. Users call `recallm.evaluate` and
`recallm.tune`, or the command line; nothing in a call uses this room.
"""
