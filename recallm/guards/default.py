"""The default guards: may the answer to one prompt serve another that is similar?

An embedding captures what a prompt is about, not what it asks: a number, a "not", a name or a direction hardly
changes it. Each guard takes the prompt that is asked and the prompt of a stored answer, in any order, and returns True
if they do not differ in one respect, or if the difference is harmless. Guards are asked only about candidates at or
above the threshold; if one returns False, the candidate is not served.

Four guards compare what must be literally the same and refuse on that alone: `numbers_agree`, `literals_agree`,
`capitals_agree` and, for parts that have changed places, `direction_agrees`. The others refuse only if all that
differs, weighed together, speaks against one answer for both (`recallm.guards.evidence`).
"""

from __future__ import annotations

from collections import Counter

from recallm.guards.evidence import Evidence, compare
from recallm.guards.order import is_turned_round
from recallm.guards.prompt import SPELLED_OUT, ParsedPrompt, capital_forms, parse
from recallm.guards.word_lists import capitalised_words
from recallm.typing import Guard


def numbers_agree(prompt: str, cached_prompt: str) -> bool:
    """Return whether both prompts name the same numbers, in any order.

    Catches amounts, dates, times, versions and counts, in digits or words ("3 pm" is 15:00, "1,000" is "1k").
    Lets through numbers in other words, such as "a couple" or "once".

    >>> numbers_agree("Refund within 30 days?", "Refund within 90 days?")
    False
    >>> numbers_agree("Is 30 days the limit?", "Is the limit thirty days?")
    True
    """
    one, other = parse(prompt), parse(cached_prompt)
    return one.numbers == other.numbers or (_has_numbers_of(one, other) and _has_numbers_of(other, one))


def _has_numbers_of(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether the first prompt has each number of the second, if only as the word "first" or "second"."""
    lacking = Counter(other.numbers) - Counter(one.numbers)
    return all(SPELLED_OUT.get(number) in one.vocabulary for number in lacking)


def literals_agree(prompt: str, cached_prompt: str) -> bool:
    """Return whether each prompt contains the code, options, paths, identifiers and quoted text of the other.

    Catches another file, error code, function or quotation. Lets through literals that differ in capitals only, unless
    they are options of a command: ``-l`` is not ``-L``.

    >>> literals_agree("What does grep -v do?", "What does grep -r do?")
    False
    """
    one, other = parse(prompt), parse(cached_prompt)
    if one.literals == other.literals:
        return True
    return all(
        literal in text if literal.startswith("-") else literal.lower() in flat
        for literals, text, flat in (
            (one.literals - other.literals, cached_prompt, other.flat),
            (other.literals - one.literals, prompt, one.flat),
        )
        for literal in literals
    )


def direction_agrees(prompt: str, cached_prompt: str) -> bool:
    """Return whether no two parts of the prompts have changed places.

    Catches "from A to B" and "from B to A", who pays whom, and what comes before what. Lets through parts that have
    changed places in a prompt that is also reworded, and parts joined by "and", "or" or "versus".

    >>> direction_agrees("Convert miles to kilometres", "Convert kilometres to miles")
    False
    >>> direction_agrees("Compare tea and coffee", "Compare coffee and tea")
    True
    """
    turned = is_turned_round(parse(prompt).words, parse(cached_prompt).words)
    return not turned and _is_harmless(prompt, cached_prompt, Evidence.ORDER_OF_NAMES)


def capitals_agree(prompt: str, cached_prompt: str) -> bool:
    """Return whether no word has another meaning because of its capitals: "US" and "us", "Polish" and "polish".

    Catches the words of one list. Lets through the first word of a prompt, and a prompt without any capitals beside one
    that begins with a capital.

    >>> capitals_agree("Which cream should I use to Polish?", "Which cream should I use to polish?")
    False
    """
    one, other = (capital_forms(parse(text), capitalised_words()) for text in (prompt, cached_prompt))
    # People who never type capitals mean nothing by leaving one out.
    if (prompt.islower() and cached_prompt[:1].isupper()) or (cached_prompt.islower() and prompt[:1].isupper()):
        return True
    return not any(word in other and forms.isdisjoint(other[word]) for word, forms in one.items())


def negations_agree(prompt: str, cached_prompt: str) -> bool:
    """Return whether both prompts negate or neither does.

    Catches "not", "never", "without", "unable" and the like. Lets through questions that begin with "isn't" or
    "don't", and a negation in a prompt that is otherwise reworded, too.

    >>> negations_agree("Which foods are safe for dogs?", "Which foods are not safe for dogs?")
    False
    """
    return _is_harmless(prompt, cached_prompt, Evidence.NEGATION)


def opposites_are_absent(prompt: str, cached_prompt: str) -> bool:
    """Return whether neither prompt has the opposite of a word of the other.

    Catches "import" and "export", "first" and "last", "can" and "must", "is" and "was". Lets through opposites in
    prompts that are otherwise reworded, too ("less acidic", "reduce the acid").

    >>> opposites_are_absent("How do I enable dark mode?", "How do I disable dark mode?")
    False
    """
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


def kinds_agree(prompt: str, cached_prompt: str) -> bool:
    """Return whether the prompts do not name different members of one kind.

    Catches other units, weekdays, languages, animals or products. Lets through kinds and members that the list does not
    have; `wording_agrees` may catch them.

    >>> kinds_agree("Sort a list in Python", "Sort a list in Java")
    False
    """
    return _is_harmless(prompt, cached_prompt, Evidence.KINDS)


def names_agree(prompt: str, cached_prompt: str) -> bool:
    """Return whether the prompts do not name different people, places or things.

    Catches words with a capital that begin no sentence. Lets through names in lower case; `wording_agrees` may catch
    them.

    >>> names_agree("Best hotels in Murray county", "Best hotels in Floyd county")
    False
    """
    return _is_harmless(prompt, cached_prompt, Evidence.NAMES, Evidence.A_NAME)


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


def _is_harmless(prompt: str, cached_prompt: str, *refused: Evidence) -> bool:
    """Return whether the prompts differ in none of these, or all that differs weighs too little."""
    found = compare(prompt, cached_prompt)
    return found.weight <= 0 or found.evidence.isdisjoint(refused)


DEFAULT_GUARDS: tuple[Guard, ...] = (
    numbers_agree,
    literals_agree,
    direction_agrees,
    capitals_agree,
    negations_agree,
    opposites_are_absent,
    kinds_agree,
    names_agree,
    scope_agrees,
    wording_agrees,
)
"""The guards of a cache that was given none, in the order in which they are asked."""
