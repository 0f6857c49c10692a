"""Guards: may the answer to one prompt serve another that is similar?

Embeddings tell what two prompts are about, not what they ask: a number, a "not", a name or a direction hardly
moves them. Each guard claims that one sort of difference is absent or harmless, and is asked only about
candidates at or above the threshold. Those that compare what must be literally the same (`numbers_agree`,
`literals_agree`, `direction_agrees`, `capitals_agree`) refuse by themselves; the others refuse where the prompts
otherwise say the same in the same words, by evidence that is weighed together (`recallm.guards.evidence`).
"""

from __future__ import annotations

from collections import Counter

from recallm.guards.evidence import Evidence, compare
from recallm.guards.order import is_turned_round
from recallm.guards.prompt import SPELLED_OUT, ParsedPrompt, capital_forms, parse
from recallm.guards.word_lists import capitalised_words
from recallm.typing import Guard


def numbers_agree(prompt: str, cached_prompt: str) -> bool:
    """Claim that both prompts name the same numbers, wherever they stand.

    Catches amounts, dates, times, versions and counts, in digits or words ("3 pm" is 15:00, "1,000" is "1k").
    Lets through numbers that are written out as "a couple" or "once".

    >>> numbers_agree("Refund within 30 days?", "Refund within 90 days?")
    False
    >>> numbers_agree("Is 30 days the limit?", "Is the limit thirty days?")
    True
    """
    one, other = parse(prompt), parse(cached_prompt)
    return one.numbers == other.numbers or (_has_numbers_of(one, other) and _has_numbers_of(other, one))


def _has_numbers_of(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Tell whether the first names each number of the second, be it spelled out as "first" or "second"."""
    lacking = Counter(other.numbers) - Counter(one.numbers)
    return all(SPELLED_OUT.get(number) in one.vocabulary for number in lacking)


def literals_agree(prompt: str, cached_prompt: str) -> bool:
    """Claim that code, options, paths, identifiers and quoted text of each prompt stand in the other.

    Lets through what differs in capitals only, but for the options of commands.

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
    """Claim that no two parts of the prompt have changed places: from A to B, who pays whom, what comes first.

    Lets through what is also reworded.

    >>> direction_agrees("Convert miles to kilometres", "Convert kilometres to miles")
    False
    >>> direction_agrees("Compare tea and coffee", "Compare coffee and tea")
    True
    """
    turned = is_turned_round(parse(prompt).words, parse(cached_prompt).words)
    return not turned and _is_harmless(prompt, cached_prompt, Evidence.ORDER_OF_NAMES)


def capitals_agree(prompt: str, cached_prompt: str) -> bool:
    """Claim that no word changes its meaning by its capitals, as "US" and "us", "Polish" and "polish".

    Lets through words that only one prompt capitalises at the beginning of a sentence, and a prompt without capitals
    beside one that begins with one.

    >>> capitals_agree("Which cream should I use to Polish?", "Which cream should I use to polish?")
    False
    """
    one, other = (capital_forms(parse(text), capitalised_words()) for text in (prompt, cached_prompt))
    # Who writes without capitals means nothing by their absence, unless the other begins without one, too.
    if (prompt.islower() and cached_prompt[:1].isupper()) or (cached_prompt.islower() and prompt[:1].isupper()):
        return True
    return not any(word in other and forms.isdisjoint(other[word]) for word, forms in one.items())


def negations_agree(prompt: str, cached_prompt: str) -> bool:
    """Claim that both prompts negate, or neither does.

    Catches "not", "never", "without", "unable" and the like. Lets through a polite "isn't it", and negations
    within much rewording.

    >>> negations_agree("Which foods are safe for dogs?", "Which foods are not safe for dogs?")
    False
    """
    return _is_harmless(prompt, cached_prompt, Evidence.NEGATION)


def opposites_are_absent(prompt: str, cached_prompt: str) -> bool:
    """Claim that no word of the prompt stands against its opposite: import and export, first and last, can and must.

    Lets through opposites within much rewording ("less acidic", "reduce the acid").

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
    """Claim that the prompts do not name different members of one kind: units, languages, animals, products.

    Lets through members of kinds that the lists do not have, which `wording_agrees` may catch.

    >>> kinds_agree("Sort a list in Python", "Sort a list in Java")
    False
    """
    return _is_harmless(prompt, cached_prompt, Evidence.KINDS)


def names_agree(prompt: str, cached_prompt: str) -> bool:
    """Claim that the prompts do not name different people, places or things.

    Catches words with a capital that begin no sentence. Lets through names in lower case, which `wording_agrees`
    may catch.

    >>> names_agree("Best hotels in Murray county", "Best hotels in Floyd county")
    False
    """
    return _is_harmless(prompt, cached_prompt, Evidence.NAMES, Evidence.A_NAME)


def scope_agrees(prompt: str, cached_prompt: str) -> bool:
    """Claim that neither prompt is narrowed: for whom, whose, where, with or without what.

    Lets through narrowing in common words ("for longer").

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
    """Claim that what one prompt says in other words than the other is the same.

    Catches a word exchanged for one that is no synonym, where all else is the same. Lets through exchanges
    within much rewording.

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
    """Claim that the prompts differ in none of these, or that all that differs weighs too little to matter."""
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
"""What guards a cache by default, in the order in which they are asked."""
