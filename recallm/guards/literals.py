"""Literals: code, options, paths, identifiers, search operators and quoted text, which mean themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import accumulate

from recallm.guards.patterns import compiled

MAX_SEARCHED = 4_000_000
"""How many characters may be compared to find texts in a prompt: the length of the prompt times that of all texts."""

QUOTES = frozenset("\"'“”‘’")
_SEARCH_OPERATOR = r"(?<!\S)(?:-|[a-z]{1,20}:(?!/))\S*\w"
_NAMED_OPERATOR = r"(?<!\S)[a-z]{1,20}:(?!/)\S*\w"
_CALL = r"\b[A-Za-z]\w{0,40}\((?=[^()\s]*[\d,=])[^()]{1,80}\)"
_LITERALS = (
    r"`[^`]+`"  # between back quotes
    r"|(?<!\S)--?[A-Za-z][\w-]*"  # an option of a command, or a word that a search leaves out
    r"|(?<![\w/])[~.]{0,2}/[./-]{0,8}\w(?:[\w./-]*\w)?"  # a path
    r"|[A-Za-z]:\\\S+"
    r"|\b(?!\d+\.\d+[a-z]*\b)\w+(?:[._]\w+)+(?:\(\))?|\b\w+\(\)"  # dotted_or_underlined names, calls
    r"|(?<![^\W\u3000-\U0010ffff])[a-z]+[A-Z][^\W\u3000-\U0010ffff]*|[A-Za-z](?:\+\+|#)(?!\w)"  # camelCase, C++
    r"|[=!<>]=+|(?<=\s)[<>](?=\s(?!-?[\d$€£]))|&&|\|\||\\\w"  # operators, and classes of a regular expression
    r"|\b[A-Z]+-?\d[\w-]*|(?<![\w.])\d+[Aa](?!\w)"  # E404, PS-5, section 12a, as "a" alone says nothing
    r"|(?<![\w%])%[a-z](?!\w)"  # the format of a value
    r"|(?<![\w.+-])[\w.+-]+@[\w.-]*\w|(?<!\w)(?:@|#(?!\d|[A-Z]+-?\d))\w+"
)
_SIGN_OF_A_LITERAL = r"[`\\/_@#=<>+|]|&&|\(\)|\.\w|(?<!\S)-|[a-z][A-Z]|[A-Z]-?\d|\d[Aa]|%[a-z]"
"""A prompt has none of `_LITERALS` if it has none of these, which is far faster to see."""

_QUOTED = r"[\"“”]([^\"“”]{1,200})[\"“”]|(?<!\w)['‘]([^'‘’]{2,200})['’](?!\w)"
_PUNCTUATION = r"(?:[\s_.,;:/()\[\]{}\"'“”‘’`-]|[?!](?!\S))+"
_FEWEST_LETTERS = 3
"""Literals with fewer letters and digits, such as "C#", are compared with their punctuation."""

_MOST_PLACES = 50
"""In how many places a literal is looked for that begins or ends inside of a word there."""

_MOST_OPERATORS = 24
"""A prompt with more operators is data, no search."""

_SIGNS = r"[*+/%&|^<>=~@$\\-]+"
_SIGNS_OF_PROSE = frozenset("- -- --- & / |".split())

ABBREVIATION = r"(?<![\w.])(?:[^\W\d_](?:\.[^\W\d_])+|[A-Z][a-z]?(?:\.[A-Z][a-z]?)+)(?!\w)"
"""The pattern of an abbreviation with dots, such as "U.S." or "Ph.D.", without the last of them."""


def literals_of(prompt: str) -> Iterator[str]:
    """Yield the literals of a prompt, unchanged but for the quotation marks around them."""
    if compiled(_SIGN_OF_A_LITERAL).search(prompt):
        for found in compiled(_LITERALS).findall(prompt):
            if "." not in found or compiled(ABBREVIATION).fullmatch(found) is None:
                yield found.strip("`")
    if "(" in prompt:
        yield from compiled(_CALL).findall(prompt)
    if not QUOTES.isdisjoint(prompt):
        for double, single in compiled(_QUOTED).findall(prompt):
            yield (double or single).strip().rstrip(".,!?")


def are_searchable(texts: Collection[str], prompt: str) -> bool:
    """Return whether it takes little time to look for all of these texts in a prompt."""
    return sum(map(len, texts)) * len(prompt) <= MAX_SEARCHED


def has_literals(prompt: str, literals: Collection[str]) -> bool:
    """Return whether a prompt contains literals; in doubt, as there are very many, it does not.

    Punctuation does not count: "PS-5" is "PS5". It does in options, in very short literals, and in signs that compute.

    >>> has_literals("What does user id hold?", ["user_id"]), has_literals("What does length hold?", ["len"])
    (True, False)
    """
    if not literals:
        return True
    if not are_searchable(literals, prompt):
        return False
    flat = prompt.lower()
    words = [word for word in compiled(_PUNCTUATION).split(flat) if word]
    joined, bounds = "".join(words), {0, *accumulate(map(len, words))}
    return all(_has(literal, prompt, flat, joined, bounds) for literal in literals)


def _has(literal: str, prompt: str, flat: str, joined: str, bounds: Collection[int]) -> bool:
    if literal.startswith(("-", "\\")):
        return literal in prompt
    sought = compiled(_PUNCTUATION).sub("", literal.lower())
    if sum(map(str.isalnum, sought)) < _FEWEST_LETTERS:
        return literal.lower() in flat
    at = -1
    for _ in range(_MOST_PLACES):
        at = joined.find(sought, at + 1)
        if at < 0:
            return False
        if all(_is_bound(joined, bounds, place) for place in (at, at + len(sought))):
            return True
    return False


def _is_bound(joined: str, bounds: Collection[int], place: int) -> bool:
    """Return whether no word goes on at a place of a text without its punctuation: "20000mAh" has two."""
    if place in bounds:
        return True
    before, behind = joined[place - 1], joined[place]
    if not (before.isalnum() and behind.isalnum()) or before.isdecimal() != behind.isdecimal():
        return True
    # Chinese and Japanese have no spaces around words of other scripts.
    return before.isascii() != behind.isascii() and max(before, behind) > "\u3000"


def compute_the_same(one: str, other: str) -> bool:
    """Return whether two prompts of the same words have the same signs that compute, if both have any.

    >>> compute_the_same("What does x += y do?", "What does x -= y do?"), compute_the_same("tea - hot", "tea + hot")
    (False, True)
    """
    ours, theirs = (
        "".join(sign for sign in compiled(_SIGNS).findall(prompt) if sign not in _SIGNS_OF_PROSE)
        for prompt in (one, other)
    )
    return ours == theirs or not (ours and theirs)


def search_the_same(one: str, other: str) -> bool:
    """Return whether not each of two searches has an operator that the other lacks.

    >>> search_the_same("from:ann budget", "to:ann budget"), search_the_same("from:ann budget", "budget of ann")
    (False, True)
    """
    if ":" not in one or ":" not in other:
        return True
    ours, theirs = (frozenset(compiled(_NAMED_OPERATOR).findall(prompt.lower())) for prompt in (one, other))
    return ours <= theirs or theirs <= ours


def shared_operators(one: str, other: str) -> frozenset[str]:
    """Return the search operators and options that two prompts share: their order changes nothing.

    >>> sorted(shared_operators("cat -car site:a.com", "site:a.com cat -car"))
    ['-car', 'site:a.com']
    """
    if not all(":" in prompt or "-" in prompt for prompt in (one, other)):
        return frozenset()
    shared = frozenset(compiled(_SEARCH_OPERATOR).findall(one)).intersection(compiled(_SEARCH_OPERATOR).findall(other))
    return shared if len(shared) <= _MOST_OPERATORS else frozenset()
