"""Guards: may the answer to one prompt serve another that is similar? Pure functions of two prompts.

`default` has the guards of a cache that was given none; `prompt` parses a prompt once for all of them; `evidence` finds
what differs between two prompts and weighs it; `words` and `order` compare words and their places; `word_lists` reads
the lists in ``data`` on first use. `recallm.engine.decision` asks the guards about each candidate at or above the
threshold.

To add a guard, add a function to `default`, its name to `DEFAULT_GUARDS`, and rows to the table of its tests. To add
words, edit the lists in ``data``: no Python is needed, and the first line of each list explains its format. To weigh
another sort of difference, add a member to `evidence.Evidence` and learn its weight.
"""
