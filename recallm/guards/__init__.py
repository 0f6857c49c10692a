"""Guards: may the answer to one prompt serve another that is similar? Pure functions of two prompts.

`default` has the guards of a cache that was given none; `prompt` parses a prompt once for all of them, without its
`courtesies` and with `phrases` as one word, and with what `language`, `numerals`, `literals` and `wording` read of it;
`evidence` finds what differs between two prompts and weighs it; `words`, `order`, `roles`, `grammar` and `manner`
compare words, their places, who does what to whom, when, and the form of answer asked for; `quantities` and `places`
compare numbers, with what they count and the `units`; `foreign` compares prompts that are not in English; `word_lists`
reads the lists in ``data`` on first use. `answers` compares two answers to one prompt, for `recallm.judges`.
`recallm.engine.decision` asks the guards about each candidate at or above the threshold.

To add a guard, add a function to `default`, its name to `DEFAULT_GUARDS`, and rows to the table of its tests. To add
words, edit the lists in ``data``: no Python is needed, and the first line of each list explains its format. To weigh
another sort of difference, add a member to `evidence.Evidence` and learn its weight.
"""

from recallm.guards.default import (
    DEFAULT_GUARDS,
    capitals_agree,
    direction_agrees,
    kinds_agree,
    languages_agree,
    literals_agree,
    manner_agrees,
    names_agree,
    negations_agree,
    numbers_agree,
    opposites_are_absent,
    scope_agrees,
    wording_agrees,
)

__all__ = [
    "DEFAULT_GUARDS",
    "capitals_agree",
    "direction_agrees",
    "kinds_agree",
    "languages_agree",
    "literals_agree",
    "manner_agrees",
    "names_agree",
    "negations_agree",
    "numbers_agree",
    "opposites_are_absent",
    "scope_agrees",
    "wording_agrees",
]
