"""Guards: may the answer to one prompt serve another that is similar? Pure functions of two prompts.

`default` has the guards that are on by default; `prompt` parses a prompt once for all of them; `evidence` finds what
differs between two prompts and weighs it; `words` and `order` compare words and their places; ``data`` holds the word
lists. `recallm.engine.decision` asks the guards about each candidate at or above the threshold.

To add a guard, add a function to `default`, its name to `DEFAULT_GUARDS`, and rows to the tables of its tests; to add
words, edit the lists in ``data``, no Python needed.
"""
