"""The default guards: may the answer to one prompt serve another that is similar?

An embedding captures what a prompt is about, not what it asks: a number, a "not", a name or a direction hardly
changes it. Each guard takes the prompt that is asked and the prompt of a stored answer, in any order, and returns True
if they do not differ in one respect, or if the difference is harmless. Guards are asked only about candidates at or
above the threshold; if one returns False, the candidate is not served.

Five guards compare what must be the same and refuse on that alone: `numbers_agree`, `literals_agree`, `capitals_agree`,
`manner_agrees` and, for parts that have changed places, `direction_agrees`. The others refuse only if all that differs,
weighed together, speaks against one answer for both (`recallm.guards.evidence`).

They know English. `manner_agrees` does not judge prompts in another language, and about such the last six ask the short
lists of `recallm.guards.foreign`; what these do not have, they let through.

They are asked in the midst of a call about up to sixteen candidates, so they take time in proportion to the prompts'
length, and of a prompt longer than `MAX_CHARS` they only ask whether the other is the same.
"""

from __future__ import annotations

from collections import Counter
from functools import wraps

from recallm.concurrency.memo import Memo
from recallm.guards.decisive import asks_for_the_other_side, decisive_words_agree
from recallm.guards.evidence import Difference, Evidence, compare
from recallm.guards.foreign import are_foreign, compare_foreign, have_numbers_of_each_other
from recallm.guards.literals import compute_the_same, has_literals, search_the_same, shared_operators
from recallm.guards.manner import manners_agree
from recallm.guards.order import are_exchanged, arguments_keep_their_places, have_turned_names
from recallm.guards.places import bring_two_together, digits_keep_their_places, quantities_agree
from recallm.guards.prompt import MAX_CHARS, capital_forms, parse
from recallm.guards.roles import have_changed_roles
from recallm.guards.word_lists import capitalised_words
from recallm.typing import Guard


def _bounded(judge: Guard) -> Guard:
    """Return a guard that refuses, without judging, prompts that are too long to be judged in the midst of a call."""

    @wraps(judge)
    def guard(prompt: str, cached_prompt: str) -> bool:
        if len(prompt) > MAX_CHARS or len(cached_prompt) > MAX_CHARS:
            return prompt == cached_prompt
        return judge(prompt, cached_prompt)

    return guard


@_bounded
def languages_agree(prompt: str, cached_prompt: str) -> bool:
    """Return whether both prompts are in one language, as far as they tell.

    Catches the same question in another language, whose answer would be in that language. Lets through prompts that
    are too short to tell, or of languages that are much alike.

    >>> languages_agree("What is the capital of France?", "Quelle est la capitale de la France ?")
    False
    """
    one, other = parse(prompt).language, parse(cached_prompt).language
    return one.code == other.code or not (one.is_sure and other.is_sure)


@_bounded
def numbers_agree(prompt: str, cached_prompt: str) -> bool:
    """Return whether both prompts name the same quantities, each of the same things.

    Catches amounts, dates, times, versions, signs, units, bounds and counts, in digits or words ("3 pm" is 15:00,
    "1,000" is "1k", "2 weeks" are 14 days), and numbers that have changed places. Lets through numbers that move with
    what they count or are joined by "and" or "or", a bound in one prompt only, numbers in other words, such as "a
    couple" or "once", the "two" that are compared or merged, and a number that only one of two long prompts has if most
    of their words differ.

    >>> numbers_agree("Refund within 30 days?", "Refund within 90 days?")
    False
    >>> numbers_agree("Is 30 days the limit for 2 items?", "For two items, is the limit thirty days?")
    True
    """
    one, other = parse(prompt), parse(cached_prompt)
    if are_foreign(one, other):
        return have_numbers_of_each_other(one, other) and digits_keep_their_places(one, other)
    if quantities_agree(one, other):
        return True
    if bring_two_together(one, other):
        return True
    ours, theirs = (Counter(number.text for number in parsed.numbers) for parsed in (one, other))
    return ours != theirs and (ours <= theirs or theirs <= ours) and _difference(prompt, cached_prompt).is_rewording


@_bounded
def literals_agree(prompt: str, cached_prompt: str) -> bool:
    """Return whether each prompt contains the code, options, paths, identifiers and quoted text of the other.

    Catches another file, error code, function, search operator or quotation, and other signs that compute between the
    same words. Lets through literals that differ in capitals, spaces or punctuation only ("user_id", "user id"), unless
    they are options of a command or very short: ``-l`` is not ``-L``.

    >>> literals_agree("What does grep -v do?", "What does grep -r do?")
    False
    """
    one, other = parse(prompt), parse(cached_prompt)
    return (
        has_literals(cached_prompt, one.literals - other.literals)
        and has_literals(prompt, other.literals - one.literals)
        and (one.words != other.words or compute_the_same(prompt, cached_prompt))
        and search_the_same(prompt, cached_prompt)
    )


@_bounded
def direction_agrees(prompt: str, cached_prompt: str) -> bool:
    """Return whether nobody and nothing has changed places or roles between the prompts.

    Catches "from A to B" and "from B to A", who pays whom, also in the passive voice, what comes before what or because
    of what, and the arguments of a command. Lets through clauses and phrases moved as a whole, parts joined by "and",
    "or" or "versus", the order of mere keywords, and changed roles in a prompt that has other words, too.

    >>> direction_agrees("Convert miles to kilometres", "Convert kilometres to miles")
    False
    >>> direction_agrees("Compare tea and coffee", "Compare coffee and tea")
    True
    """
    one, other = parse(prompt), parse(cached_prompt)
    operators = shared_operators(prompt, cached_prompt)
    loose = parse(" ".join(operators)).vocabulary if operators else operators
    ordered = [
        [
            word.upper() if word in _NAMES_TOO and word in each.names else word
            for word in each.words
            if word not in loose
        ]
        for each in (one, other)
    ]
    turned = not are_foreign(one, other) and (
        are_exchanged(*ordered)
        or have_turned_names(one, other)
        or have_changed_roles(one, other)
        or asks_for_the_other_side(one, other)
    )
    return (
        not turned
        and arguments_keep_their_places(prompt, cached_prompt)
        and _is_harmless(prompt, cached_prompt, Evidence.ORDER_OF_NAMES)
    )


@_bounded
def capitals_agree(prompt: str, cached_prompt: str) -> bool:
    """Return whether no word has another meaning because of its capitals: "US" and "us", "Polish" and "polish".

    Catches the words of one list. Lets through the first word of a prompt, and a prompt without any capitals beside one
    that begins with a capital.

    >>> capitals_agree("Which cream should I use to Polish?", "Which cream should I use to polish?")
    False
    """
    one, other = parse(prompt), parse(cached_prompt)
    ambiguous = capitalised_words() & one.vocabulary & other.vocabulary
    if not ambiguous:
        return True
    # People who never type capitals mean nothing by leaving one out.
    if (prompt.islower() and cached_prompt[:1].isupper()) or (cached_prompt.islower() and prompt[:1].isupper()):
        return True
    forms, others = capital_forms(one, ambiguous), capital_forms(other, ambiguous)
    return not any(word in others and seen.isdisjoint(others[word]) for word, seen in forms.items())


@_bounded
def negations_agree(prompt: str, cached_prompt: str) -> bool:
    """Return whether both prompts negate or neither does.

    Catches "not", "never", "without", "unable" and the like. Lets through questions that begin with "isn't" or
    "don't", and a negation in a prompt that is otherwise reworded, too.

    >>> negations_agree("Which foods are safe for dogs?", "Which foods are not safe for dogs?")
    False
    """
    return _is_harmless(prompt, cached_prompt, Evidence.NEGATION)


@_bounded
def opposites_are_absent(prompt: str, cached_prompt: str) -> bool:
    """Return whether neither prompt has the opposite of a word of the other.

    Catches "import" and "export", "first" and "last", "can" and "must", "is" and "was", and in prompts that are equal
    otherwise "cheap" and "cheapest", "and" and "or", "on" and "under" and the like. Lets through opposites in prompts
    that are otherwise reworded, too ("less acidic", "reduce the acid"), and "good" beside "best".

    >>> opposites_are_absent("How do I enable dark mode?", "How do I disable dark mode?")
    False
    """
    one, other = parse(prompt), parse(cached_prompt)
    if not are_foreign(one, other) and not decisive_words_agree(one, other):
        return False
    return _is_harmless(
        prompt,
        cached_prompt,
        Evidence.OPPOSITES,
        Evidence.OPPOSITE_PLACES,
        Evidence.MODALITY,
        Evidence.ADVICE,
        Evidence.TENSE,
        Evidence.TIME,
    )


@_bounded
def kinds_agree(prompt: str, cached_prompt: str) -> bool:
    """Return whether the prompts do not name different members of one kind.

    Catches other units, weekdays, languages, animals or products. Lets through kinds and members that the list does not
    have; `wording_agrees` may catch them.

    >>> kinds_agree("Sort a list in Python", "Sort a list in Java")
    False
    """
    return _is_harmless(prompt, cached_prompt, Evidence.KINDS)


@_bounded
def names_agree(prompt: str, cached_prompt: str) -> bool:
    """Return whether the prompts do not name different people, places or things.

    Catches words with a capital that begin no sentence. Lets through names in lower case; `wording_agrees` may catch
    them.

    >>> names_agree("Best hotels in Murray county", "Best hotels in Floyd county")
    False
    """
    return _is_harmless(prompt, cached_prompt, Evidence.NAMES, Evidence.A_NAME)


@_bounded
def scope_agrees(prompt: str, cached_prompt: str) -> bool:
    """Return whether neither prompt is narrower than the other: for whom, whose, where, with or without what.

    Catches words and phrases that only one of two otherwise equal prompts has. Lets through such as are common ("for
    longer").

    >>> scope_agrees("How do I reset my password?", "How do I reset my colleague's password?")
    False
    """
    return _is_harmless(
        prompt,
        cached_prompt,
        Evidence.RESTRICTION,
        Evidence.PHRASE,
        Evidence.PERSON,
        Evidence.SPECIAL_INSERTION,
        Evidence.COMMON_INSERTION,
        Evidence.SPECIAL_ADDITION,
    )


@_bounded
def wording_agrees(prompt: str, cached_prompt: str) -> bool:
    """Return whether the words in which the prompts differ mean the same.

    Catches a word in the place of one that is no synonym of it, if the prompts are otherwise equal. Lets through such
    words in prompts that are otherwise reworded, too.

    >>> wording_agrees("What is the safest sleeping pill?", "What is the strongest sleeping pill?")
    False
    """
    return _is_harmless(
        prompt,
        cached_prompt,
        Evidence.SPECIAL_EXCHANGE,
        Evidence.COMMON_EXCHANGE,
        Evidence.SMALL_EXCHANGE,
        Evidence.SPECIAL_WORDING,
        Evidence.COMMON_WORDING,
    )


@_bounded
def manner_agrees(prompt: str, cached_prompt: str) -> bool:
    """Return whether both prompts ask for the same form and manner of answer, about the same time.

    Catches "in detail", "as a table", "with an example", "for a five-year-old", "today", "this week" in one prompt
    only. Lets through other phrases for the same ("briefly", "in short"), and phrases that the lists do not have;
    `scope_agrees` may catch them.

    >>> manner_agrees("What is a monad?", "What is a monad, in one sentence?")
    False
    >>> manner_agrees("Briefly, what is a monad?", "What is a monad, in short?")
    True
    """
    one, other = parse(prompt), parse(cached_prompt)
    if are_foreign(one, other) or manners_agree(one, other):
        return True
    # Times of a long story, such as when somebody fell ill, are told in many ways.
    conflict = one.asks_for - other.asks_for and other.asks_for - one.asks_for
    return not conflict and _difference(prompt, cached_prompt).is_rewording


_NAMES_TOO = frozenset(("may", "will"))
"""Words that frame requests and that are names with a capital: "from March to May"."""


def _is_harmless(prompt: str, cached_prompt: str, *refused: Evidence) -> bool:
    """Return whether the prompts differ in none of these, or all that differs weighs too little."""
    found = _difference(prompt, cached_prompt)
    return found.weight <= 0 or found.evidence.isdisjoint(refused)


_COMPARED: Memo[tuple[str, str], Difference] = Memo(limit_bytes=2**20)
"""The comparisons that were made last: the guards ask for the same one in turn."""


def _difference(prompt: str, cached_prompt: str) -> Difference:
    """Return how two prompts differ, compared as English ones or as ones of other languages."""
    found = _COMPARED.get((prompt, cached_prompt))
    if found is None:
        foreign = are_foreign(parse(prompt), parse(cached_prompt))
        found = compare_foreign(prompt, cached_prompt) if foreign else compare(prompt, cached_prompt)
        words = len(found.ours) + len(found.theirs)
        _COMPARED.put((prompt, cached_prompt), found, 1000 + 2 * (len(prompt) + len(cached_prompt)) + 20 * words)
    return found


DEFAULT_GUARDS: tuple[Guard, ...] = (
    languages_agree,
    numbers_agree,
    literals_agree,
    direction_agrees,
    capitals_agree,
    manner_agrees,
    negations_agree,
    opposites_are_absent,
    kinds_agree,
    names_agree,
    scope_agrees,
    wording_agrees,
)
"""The guards of a cache that was given none, in the order in which they are asked."""


def prepare() -> None:
    """Read the word lists and compile the patterns now, so that no call need wait for that; it takes milliseconds."""
    for one, other in _WITH_ALL_TO_PREPARE:
        for guard in DEFAULT_GUARDS:
            guard(one, other)


_WITH_ALL_TO_PREPARE = (
    (
        "No matter what, can't you say \"no\" at 5 pm on May 2nd, for 20k US$, if `f(1)` won't renew a subscription?",
        "Thanks, ain't it 'no', e.g. at 6 pm on 1 June, for 30k us dollars, if `f(2)` that's free ends a subscripton?",
    ),
    ("Is there a fast train?", "Is there a faster train?"),
    ("Wie kann ich das Fenster öffnen?", "Wie kann ich das Fenster schließen?"),
)
"""Pairs of prompts that have something of all that the guards look for, the last in another language."""
