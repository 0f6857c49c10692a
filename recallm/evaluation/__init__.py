"""How often a cache would be right: on labelled pairs, ahead of its use.

`pairs` reads labelled pairs, `judge` says what a cache would do with each, `evaluate` counts over thresholds, `tune`
chooses one, `intervals` says how sure that is, and `plot` draws it. Users call `recallm.evaluate` and `recallm.tune`,
or the command line; nothing in a call uses this room.
"""
