"""Small words and endings that decide what is asked, in prompts that are equal otherwise.

"The cheapest hotel" is not "a cheap hotel", "on the table" is not "under the table", "tea and milk" is not "tea or
milk", and who killed somebody is not whom he killed. Most of these words frame requests, or are forms of one word, so
that they weigh nothing where all that differs is weighed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from recallm.concurrency.memo import Memo
from recallm.guards.order import MOST_WORDS
from recallm.guards.prompt import ParsedPrompt
from recallm.guards.word_lists import gradable_words, request_words, word_forms
from recallm.guards.words import are_equivalent, equivalents, is_request_word

_MOST_UNSHARED = 10
"""Most words that only one of two prompts has, those that frame a request left out, without looking any further."""

_MOST_EXCHANGED = 3
"""Most places in which two prompts may differ and still be equal otherwise."""

_JOINED = (
    ("in", "front", "of"), ("on", "top", "of"), ("more", "than", "one"), ("out", "of"), ("next", "to"),
    ("every", "other"), ("every", "second"), ("nearly", "all"), ("almost", "all"), ("not", "all"), ("a", "few"),
)  # fmt: skip
"""Words that count as one, the longer phrases first."""

_FIRST_JOINED = frozenset(phrase[0] for phrase in _JOINED)

_GROUPS = (
    ("and", "or"),
    ("many/lot/lots", "few", "a few"),
    ("several/more than one", "one/1"),
    ("good", "better"),
    ("bad", "worse", "worst"),
    ("every/each", "every other/every second"),
    ("all/every/each", "nearly all/almost all", "not all"),
    ("both", "either", "neither"),
    (
        "on/onto/upon/over/on top of", "under/underneath/beneath/below", "behind", "in front of", "into/inside",
        "out of", "above/over", "around", "next to/beside",
    ),
)  # fmt: skip
"""Words of which each excludes those of the other classes of its group."""

_NONE: frozenset[tuple[int, int]] = frozenset()
_CLASSES: Mapping[str, frozenset[tuple[int, int]]] = {
    word: frozenset(
        (group, number)
        for group, classes in enumerate(_GROUPS)
        for number, words in enumerate(classes)
        if word in words.split("/")
    )
    for word in "/".join(chain.from_iterable(_GROUPS)).split("/")
}
"""For each word of the groups, the groups and classes that it is in."""

_CHOICES = frozenset(
    "which whether either difference differences compare between versus vs rather prefer better best like such".split()
)
"""Words before a choice, whose sides may be joined by "and" as well as "or", or before examples, likewise."""

_JOINING = frozenset(("and", "or"))
_ARTICLES = frozenset("a an the".split())

_METHODS = frozenset("way ways method methods approach option options practice practices tip tips time".split())
"""What an adjective of any degree may frame a request with: "a fast way to", "the fastest way to"."""

_ADVERBS = frozenset("fast quick slow hard early late long high low deep loud".split())
"""Adjectives that are adverbs, too."""

_LONG_ADJECTIVES = (
    "ive", "ous", "al", "ful", "ic", "ent", "ant", "ble", "ing", "ed", "ary", "ult", "lar", "ern", "rse", "mon", "lex",
)  # fmt: skip
"""Endings of adjectives that are compared by "more" and "most"."""

_TENSES = {
    word: tense
    for tense, words in (
        ("do", "do does"),
        ("did", "did"),
        ("is", "is are am"),
        ("was", "was were"),
        ("has", "has have"),
    )
    for word in words.split()
}
"""Auxiliaries, and one of each tense."""

_DO, _DID, _IS, _WAS, _HAS = map(frozenset, (["do"], ["did"], ["is"], ["was"], ["has"]))
_PAST_AND_PRESENT = ((_DID, _DO), (_WAS, _IS))
_TENSES_APART = ((_HAS, _IS), (_HAS, _DO), (_DID, _IS))
"""What the auxiliaries of a prompt about what is done may be, and of one about the present, if their verbs tell."""

_OTHERWISE_TENSED = frozenset("can could will would should may might must been being had".split())
_SUBJECTS = frozenset("i you he she it we they who that which people person somebody someone".split())
_HEADS = frozenset("who whom what which whose".split())
_INVERTING = frozenset("do does did can could will would should may might must has have had".split())
_LONGEST_HEAD = 3


def decisive_words_agree(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether two prompts do not differ only in degree, tense, place or how many.

    >>> from recallm.guards.prompt import parse
    >>> decisive_words_agree(parse("Name a tall tree"), parse("Name the tallest tree"))
    False
    """
    if one.words == other.words or max(len(one.words), len(other.words)) > MOST_WORDS:
        return True
    if len((one.vocabulary ^ other.vocabulary) - request_words()) > _MOST_UNSHARED:
        return True
    ours, theirs = _telling(one.words), _telling(other.words)
    if len(ours) != len(theirs):
        return True
    differing = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b]
    if len(differing) > _MOST_EXCHANGED:
        return True
    decisive = [pair for pair in differing if _exclude_each_other(*pair) or _differ_in_degree(*pair, one, other)]
    rest = [pair for pair in differing if pair not in decisive]
    if not all(are_equivalent(a, b) for a, b in rest):
        return True
    if decisive and all(_JOINING.issuperset(pair) for pair in decisive):
        return not _join_the_same(one, other)
    return not decisive and not _differ_in_tense(one, other)


_TELLING: Memo[tuple[str, ...], tuple[str, ...]] = Memo(limit_bytes=2**19)
"""What is telling in the prompts read last: one prompt is compared with several."""

_BYTES_PER_PROMPT, _BYTES_PER_WORD = 250, 130
"""What that takes in memory: two tuples, their words, and a place in a table."""


def _telling(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words that frame no request or decide what is asked, phrases and "more" with its adjective as one."""
    told = _TELLING.get(words)
    if told is None:
        told = tuple(_told(words))
        _TELLING.put(words, told, _BYTES_PER_PROMPT + _BYTES_PER_WORD * len(words))
    return told


def _told(words: Sequence[str]) -> Iterator[str]:
    at = 0
    while at < len(words):
        size = 1
        if words[at] in _FIRST_JOINED:
            size = next((len(phrase) for phrase in _JOINED if words[at : at + len(phrase)] == phrase), 1)
        if words[at] in ("more", "most") and "".join(words[at + 1 : at + 2]).endswith(_LONG_ADJECTIVES):
            size = 2
        word = " ".join(words[at : at + size])
        at += size
        if not _METHODS.isdisjoint(words[at : at + 1]) and word not in _JOINING:
            # "The fastest way" is "a fast way": as a part of the token, its degree is not compared.
            word = "" if is_request_word(word) else f"{word} way"
        if word in _CLASSES or (word and not is_request_word(word)):
            yield word


def _join_the_same(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether "and" and "or" stand between the same words in both prompts, and offer no choice."""
    if not _CHOICES.isdisjoint(one.vocabulary | other.vocabulary):
        return False
    ours, theirs = (list(_joined(parsed.words)) for parsed in (one, other))
    return len(ours) == len(theirs) and all(_are_alike(a, b) for a, b in zip(ours, theirs, strict=True))


def _joined(words: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the words before and after each "and" and "or"; articles do not count."""
    plain = [word for word in words if word not in _ARTICLES]
    for at, word in enumerate(plain):
        if word in _JOINING:
            yield (*plain[at - 1 : at], *plain[at + 1 : at + 2])


def _exclude_each_other(one: str, other: str) -> bool:
    """Return whether two words are in different classes of one group, and in none together."""
    ours, theirs = _CLASSES.get(one, _NONE), _CLASSES.get(other, _NONE)
    return ours.isdisjoint(theirs) and not {group for group, _ in ours}.isdisjoint([group for group, _ in theirs])


def _differ_in_degree(a: str, b: str, one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether two words of two prompts are one adjective in two of its three degrees, and this tells."""
    plain, compared = sorted((a, b), key=len)
    shared = one.vocabulary & other.vocabulary
    degree, _, adjective = compared.rpartition(" ")
    if degree in ("more", "most"):
        # "Some common faults" are "some of the most common faults".
        return plain.rpartition(" ")[2] == adjective and "some" not in shared
    if compared.endswith("est"):
        return compared[:-3] in (*_stems(plain), plain.removesuffix("er")) and "some" not in shared
    # How to do something faster is how to do it fast.
    if not compared.endswith("er") or ("how" in shared and plain in _ADVERBS):
        return False
    return plain in gradable_words() and compared[:-2] in _stems(plain)


def _stems(adjective: str) -> tuple[str, ...]:
    """Return what an adjective may be in front of "er" and "est": "larg", "bigg", "happi"."""
    return adjective, adjective.removesuffix("e"), adjective + adjective[-1], adjective.removesuffix("y") + "i"


def _differ_in_tense(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether only one of two prompts of the same telling words is about what is done."""
    if not _OTHERWISE_TENSED.isdisjoint(one.vocabulary | other.vocabulary):
        return False
    if _TENSES.keys().isdisjoint(one.vocabulary | other.vocabulary):
        return _is_put_in_the_past(one.words, other.words)
    for done, present in ((one, other), (other, one)):
        tenses = tuple(frozenset(_TENSES[word] for word in each.words if word in _TENSES) for each in (done, present))
        if tenses in _TENSES_APART and _has_verb_done(done, present):
            return True
        if tenses in _PAST_AND_PRESENT and _without_tenses(done) == _without_tenses(present):
            return True
    return False


def _without_tenses(parsed: ParsedPrompt) -> Sequence[str]:
    return [word for word in parsed.words if word not in _TENSES and word not in _ARTICLES]


def _has_verb_done(done: ParsedPrompt, present: ParsedPrompt) -> bool:
    """Return whether a verb tells that the first of two prompts is about what is done, and the second about now."""
    ours, theirs = done.vocabulary - present.vocabulary, present.vocabulary - done.vocabulary
    if "did" in ours:
        return bool(equivalents([word for word in theirs if word.endswith("ing")], ours))
    participles = [word for word in ours if word.endswith("ed") or word in word_forms()]
    return bool(equivalents(participles, [word for word in theirs if word not in _TENSES]))


def _is_put_in_the_past(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether two prompts differ in one verb, behind its subject: "people live in", "people lived in".

    Before a noun, as in "grilled fish", it would be no verb.
    """
    if len(one) != len(other):
        return False
    place, *more = [at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    present, past = sorted((one[place], other[place]), key=lambda word: (len(word), word.endswith("d")))
    before = one[place - 1] if place else "to"
    return (
        not more
        and past in (f"{present}d", f"{present}ed", f"{present.removesuffix('s')}d", f"{present.removesuffix('s')}ed")
        and (before in _SUBJECTS or not is_request_word(before))
        and all(map(is_request_word, one[place + 1 : place + 2]))
    )


def asks_for_the_other_side(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether one prompt asks who does something to somebody, and the other to whom he does it.

    The shape of the questions tells, whatever the verb; `recallm.guards.roles` knows some verbs in any sentence.

    >>> from recallm.guards.prompt import parse
    >>> asks_for_the_other_side(parse("Who killed Brutus?"), parse("Who did Brutus kill?"))
    True
    """
    return _asks_for_the_subject(one.words, other.words) or _asks_for_the_subject(other.words, one.words)


def _asks_for_the_subject(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether the first asks for the subject of what the second asks for the object of."""
    if not one or not other or one[0] not in _HEADS or len(other) > MOST_WORDS:
        return False
    place = next((at for at, word in enumerate(other[: _LONGEST_HEAD + 1]) if word in _INVERTING), 0)
    if not place or not _are_alike(one[:place], other[:place]):
        return False
    subject = one[place + 1 :] if one[place : place + 1] and one[place] in _INVERTING else one[place:]
    inverted = other[place + 1 :]
    while len(subject) > 2 and len(inverted) > 2 and subject[-1] == inverted[-1]:
        subject, inverted = subject[:-1], inverted[:-1]
    return len(subject) >= 2 and _are_alike((*subject[1:], subject[0]), inverted)


def _are_alike(one: Sequence[str], other: Sequence[str]) -> bool:
    return len(one) == len(other) and all(a == b or are_equivalent(a, b) for a, b in zip(one, other, strict=True))
