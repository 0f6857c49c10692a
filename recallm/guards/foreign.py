"""What differs between two prompts in another language than English, as far as short lists and the order of words tell.

English has lists of synonyms, kinds and common words, and weights that were learned. Other languages have their
function words, their negations, words that exclude each other, and words that narrow a request. What these show
refuses by itself: there is too little of it to be weighed. Words are compared without accents, which many leave out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from recallm.guards.evidence import Difference, Evidence
from recallm.guards.language import language_of, unaccented
from recallm.guards.order import MOST_WORDS, trimmed
from recallm.guards.patterns import compiled
from recallm.guards.prompt import ParsedPrompt, parse
from recallm.guards.word_lists import exclusions, function_words, narrowing_words, negations

MAX_EXCHANGED_WORDS = 3
"""Most words in one place of a prompt that count as one exchange; more count as rewording."""

MAX_INSERTED_WORDS = 6
"""Most words in one place that only one of two prompts has and that count as an insertion."""

_SHORT = 3
"""Words of so few letters may be articles, and have no parts and forms by which others are known."""

_SHARED = 0.6
"""What part of the shorter one of two forms of a word is the same in the other, at least."""

_LONGEST_ENDING = 4
"""Most letters in which two forms of a word differ; more are another part of a compound."""

_LONGEST_STEM = 16
"""How many letters of a word are looked up as a stem, at most: words of prompts may be of any length."""

# The codes of languages whose articles show the case of a noun wherever it stands.
_DECLINING_ARTICLES = frozenset({"de"})
# Those whose negations are parts of words, and whose texts have no spaces between words.
_NEGATING_WITHIN_WORDS = frozenset({"ja", "ko", "zh"})
_UNSPACED = frozenset({"ja", "th", "zh"})
_FEWEST_SHARED_LETTERS, _MOST_EXCHANGED_LETTERS = 2, 3
"""How many letters two texts without spaces share, at least, and how many of them are exchanged, at most."""

_JOINING = {
    "cs": "a nebo", "da": "og eller", "de": "und oder bzw", "es": "y e o u", "fi": "ja tai", "fr": "et ou",
    "hu": "és vagy", "id": "dan atau", "it": "e ed o", "nl": "en of", "no": "og eller", "pl": "i oraz lub",
    "pt": "e ou", "ro": "și si sau", "sv": "och eller", "tr": "ve veya ile", "vi": "và hoặc",
}  # fmt: skip
"""The words for "and" and "or" of each language: what they join may change places."""

_SUPERLATIVES = dict.fromkeys(("da", "de", "nl", "no", "sv"), ("ste", "este", "ast"))
"""How the superlatives of a language go on where other forms of the word end: "billigste", "billigast"."""

_REVERSING = {
    "de": ("un", "ent", "miss"), "es": ("des", "in", "im"), "fr": ("des", "in", "im"), "it": ("dis", "in", "im"),
    "nl": ("on", "ont"), "pt": ("des", "in", "im"), "sv": ("o", "av"),
}  # fmt: skip
"""What the words of a language begin with, without accents, that mean the contrary of the rest of the word."""

_UNINFLECTED_NAMES = frozenset({"es", "fr", "it", "nl", "pt"})
"""Languages in which a word with a capital is a name and has one form."""

_A = {
    "da": "en et", "de": "ein eine", "es": "un una", "fr": "un une", "it": "un uno una", "nl": "een", "no": "en et ei",
    "pt": "um uma", "sv": "en ett",
}  # fmt: skip
"""The words for "a" of each language: a sentence that begins with one tells of someone or something."""

_GREETINGS = frozenset(
    {
        "boa noite", "boa tarde", "bom dia", "buen dia", "buenas noches", "buenas tardes", "buenos dias",
        "buona sera", "dobry den", "god dag", "god kvall", "god morgon", "goede avond", "goede middag",
        "goede morgen", "gruss gott", "gunaydin", "guten abend", "guten morgen", "guten tag", "hallo guten tag",
        "hola buenas tardes", "hola buenos dias", "hyvaa huomenta", "hyvaa iltaa", "hyvaa paivaa", "iyi aksamlar",
        "iyi gunler", "ola bom dia", "доброе утро", "добрыи вечер", "добрыи день",
    }
)  # fmt: skip
"""What a prompt may begin with that asks for nothing, without accents; a sign follows it."""

_BEGINNING = r"\W{0,3}(\w{1,12}(?: \w{1,12}){0,2}) ?[,.!:\n]"
"""What may be a greeting at the beginning of a prompt."""

_THEN = frozenset(
    "dan danach dann depois despues dopo ensuite luego poi potem puis pak sedan sen sitten sonra затем потом".split()
)
"""Words for "then", without accents."""

Place = tuple[int, int]
"""A line of the list of words that exclude each other, and a part of it."""

Words = Sequence[str]
"""Words of a prompt, in lower case and without accents."""


class _Lists(NamedTuple):
    """What the lists have of one language, without accents.

    Attributes:
        code: the code of the language.
        function: the function words.
        negating: words that negate.
        without: words for "without".
        harmless: phrases of such words that negate nothing.
        narrowing: words that ask for a form, a manner or a time.
        joining: words for "and" and "or".
        superlatives: how superlatives go on where other forms of the word end.
        numbers: for each number in words, its digits.
        places: for each word that excludes others, where it is listed.
        places_of_stems: likewise, for each stem.
    """

    code: str
    function: frozenset[str]
    negating: frozenset[str]
    without: frozenset[str]
    harmless: Sequence[Sequence[str]]
    narrowing: frozenset[str]
    joining: frozenset[str]
    superlatives: tuple[str, ...]
    numbers: Mapping[str, str]
    places: Mapping[str, frozenset[Place]]
    places_of_stems: Mapping[str, frozenset[Place]]


@cache
def _lists(code: str) -> _Lists:
    negating, without, harmless = map(str.split, negations().get(code, ("", "", "")))
    parts = [
        ((number, part), list(map(unaccented, words.split())))
        for number, line in enumerate(exclusions().get(code, ()))
        for part, words in enumerate(line)
    ]
    places: dict[str, set[Place]] = {}
    for place, words in parts:
        for word in words:
            places.setdefault(word, set()).add(place)
    return _Lists(
        code=code,
        function=_plain(function_words().get(code, ())),
        negating=_plain(negating),
        without=_plain(without),
        harmless=[tuple(map(unaccented, phrase.split("-"))) for phrase in harmless],
        narrowing=_plain(narrowing_words().get(code, ())),
        superlatives=_SUPERLATIVES.get(code, ()),
        joining=_plain([*_JOINING.get(code, "").split(), "vs"]),
        numbers={word: words[0] for _, words in parts if words[0].isdecimal() for word in words[1:]},
        places={word: frozenset(found) for word, found in places.items() if not word.endswith("*")},
        places_of_stems={word[:-1]: frozenset(found) for word, found in places.items() if word.endswith("*")},
    )


def _plain(words: Collection[str]) -> frozenset[str]:
    return frozenset(map(unaccented, words))


def are_foreign(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether one of two prompts is in another language than English.

    If the other one tells of no language, it is taken to be in the same.
    """
    return one.language.code != "en" or other.language.code != "en"


def have_numbers_of_each_other(one: ParsedPrompt, other: ParsedPrompt) -> bool:
    """Return whether two prompts of another language than English name the same numbers, in digits or words."""
    lists = _lists(_code(one, other))
    return _numbers(one, lists) == _numbers(other, lists)


def _numbers(parsed: ParsedPrompt, lists: _Lists) -> Counter[str]:
    """Return how often a prompt names each number, in digits or in words of its language: Polish "ten" is none."""
    english = Counter(
        word
        for word, original in zip(parsed.words, parsed.original, strict=True)
        if word[0].isdigit() and original[0].isalpha()
    )
    spelled = Counter(lists.numbers[word] for word in _words(parsed) if word in lists.numbers)
    return Counter(number.text for number in parsed.numbers) - english + spelled


def compare_foreign(prompt: str, cached_prompt: str) -> Difference:
    """Return how two prompts differ of which one is in another language than English.

    >>> found = compare_foreign("Wie kann ich das Fenster öffnen?", "Wie kann ich das Fenster schließen?")
    >>> sorted(map(str, found.evidence))
    ['opposites', 'special_exchange']
    """
    # Words are paired in their order, which must not depend on which prompt came first.
    if prompt <= cached_prompt:
        return _compared(parse(prompt), parse(cached_prompt))
    turned = _compared(parse(cached_prompt), parse(prompt))
    return turned._replace(ours=turned.theirs, theirs=turned.ours)


def _code(one: ParsedPrompt, other: ParsedPrompt) -> str:
    """Return the code of the language of two prompts: of both together, if they tell of different ones."""
    if one.language.code == other.language.code:
        return one.language.code
    first, second = sorted((one, other), key=lambda each: each.flat)
    return language_of(first.words + second.words, first.flat + second.flat).code


def _compared(one: ParsedPrompt, other: ParsedPrompt) -> Difference:
    lists = _lists(_code(one, other))
    a, b = _words(one), _words(other)
    only = tuple((Counter(a) - Counter(b)).elements()), tuple((Counter(b) - Counter(a)).elements())
    names = _plain(one.names | other.names) if lists.code in _UNINFLECTED_NAMES else frozenset[str]()
    ours, theirs = _unexplained(a, b, only, lists, names)
    evidence = {*_of_lists(a, b, only, lists)}
    if lists.code in _UNSPACED:
        evidence |= {*_of_letters(one.flat, other.flat, lists)}
    else:
        are_statements = _is_statement(a, one.flat, lists) and _is_statement(b, other.flat, lists)
        evidence |= {*_of_shape(a, b, ours, theirs, are_statements=are_statements, lists=lists)}
    if _is_turned_round(a, b, lists):
        evidence.add(Evidence.ORDER_OF_NAMES)
    return Difference(ours, theirs, frozenset(evidence), 1.0 if evidence else -1.0)


def _words(parsed: ParsedPrompt) -> Words:
    """Return the words of a prompt without a greeting and accents, and without hyphens, as in French "peut-on"."""
    if not parsed.numbers and parsed.flat.isascii() and "-" not in parsed.flat:
        words = parsed.words
    else:
        read = zip(parsed.words, parsed.original, strict=True)
        plain = (unaccented(original.lower() if original[0].isalpha() else word) for word, original in read)
        words = tuple(part for word in plain for part in (word.split("-") if "-" in word else (word,)))
    begun = compiled(_BEGINNING).match(parsed.flat)
    greeting = unaccented(begun[1]).split() if begun else []
    return words[len(greeting) :] if " ".join(greeting) in _GREETINGS else words


def _unexplained(
    one: Words, other: Words, only: tuple[Words, Words], lists: _Lists, names: Collection[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words of each prompt that are no function words and that the other has in no other form.

    Names have no forms: "Julie" is not "Julien".
    """
    ours, theirs = ([word for word in words if word not in lists.function] for words in only)
    if len(ours) + len(theirs) > MOST_WORDS:
        return tuple(ours), tuple(theirs)
    for word in tuple(ours):
        others = theirs if word not in names else [each for each in theirs if each not in names]
        related = next((each for each in others if _are_related(word, each, lists)), None)
        if related is not None:
            ours.remove(word)
            theirs.remove(related)
    return _not_within(ours, other, lists, names), _not_within(theirs, one, lists, names)


def _not_within(words: Words, other: Words, lists: _Lists, names: Collection[str]) -> tuple[str, ...]:
    """Return the words that are names, or no part of a longer word of the other prompt, or of several joined.

    A superlative says more than the word that is a part of it, and a word that begins with "un" the contrary.
    """
    joined = "".join(other)
    prefixes = _REVERSING.get(lists.code, ())
    return tuple(
        word
        for word in words
        if len(word) <= _SHORT
        or word in names
        or word not in joined
        or any(word + ending in joined for ending in lists.superlatives)
        or any(each.startswith(prefixes) and each.endswith(word) for each in other)
    )


def _are_related(one: str, other: str, lists: _Lists) -> bool:
    """Return whether two words are listed as the same, forms of one word, or misspellings of each other."""
    shorter, longer = sorted((one, other), key=len)
    shared = next((at for at, letter in enumerate(shorter) if letter != longer[at]), len(shorter))
    if shorter.startswith(lists.superlatives, shared) != longer.startswith(lists.superlatives, shared):
        return False
    ours, theirs = _places(one, lists), _places(other, lists)
    if ours or theirs:
        return not ours.isdisjoint(theirs)
    if shared >= max(_SHORT, _SHARED * len(shorter)) and len(longer) - shared <= _LONGEST_ENDING:
        return True
    # Short words have too many neighbours to tell misspellings.
    rest = longer[shared + 1 :]
    return len(shorter) > 5 and shared > 0 and rest in (shorter[shared:], shorter[shared + 1 :])


def _places(word: str, lists: _Lists) -> frozenset[Place]:
    """Return where a word, or else its stem, is listed as one that excludes others."""
    found = lists.places.get(word)
    if found is not None:
        return found
    stems = (word[:size] for size in range(min(len(word), _LONGEST_STEM), 1, -1))
    return next((lists.places_of_stems[stem] for stem in stems if stem in lists.places_of_stems), frozenset())


def _of_lists(one: Words, other: Words, only: tuple[Words, Words], lists: _Lists) -> Iterator[Evidence]:
    if _negations(one, lists) != _negations(other, lists):
        yield Evidence.NEGATION
    ours, theirs = ({place for word in {*words} for place in _places(word, lists)} for words in only)
    lines = {line for line, _ in ours} & {line for line, _ in theirs}
    if any({place for place in ours if place[0] == line}.isdisjoint(theirs) for line in lines):
        yield Evidence.OPPOSITES
    if not lists.narrowing.isdisjoint({*one} ^ {*other}):
        yield Evidence.RESTRICTION


def _negations(words: Words, lists: _Lists) -> tuple[bool, bool]:
    """Return whether a prompt negates, and whether it says "without".

    Not how often, as many languages negate twice: "no ... nunca", "ne ... pas".
    """
    if lists.code in _NEGATING_WITHIN_WORDS:
        text = "".join(words)
        for phrase in lists.harmless:
            text = text.replace("".join(phrase), "")
        return any(mark in text for mark in lists.negating), False
    if lists.negating.isdisjoint(words) and lists.without.isdisjoint(words):
        return False, False
    left = list(words)
    for phrase in lists.harmless:
        for at in range(len(left) - len(phrase) + 1):
            if tuple(left[at : at + len(phrase)]) == phrase:
                left[at : at + len(phrase)] = [""] * len(phrase)
    return not lists.negating.isdisjoint(left), not lists.without.isdisjoint(left)


def _of_shape(
    one: Words, other: Words, ours: Words, theirs: Words, *, are_statements: bool, lists: _Lists
) -> Iterator[Evidence]:
    a, b = trimmed(one, other)
    may_add = are_statements and lists.joining.isdisjoint((*a, *b))
    if ours and theirs:
        if max(len(a), len(b)) <= MAX_EXCHANGED_WORDS:
            yield Evidence.SPECIAL_EXCHANGE
    elif (ours or theirs) and not may_add and not (a and b) and len(a) + len(b) <= MAX_INSERTED_WORDS:
        yield Evidence.SPECIAL_INSERTION


def _of_letters(one: str, other: str, lists: _Lists) -> Iterator[Evidence]:
    """Yield how two texts without spaces differ: a few letters for others, or two parts in each other's place."""
    if one == other or not lists.function:
        return
    a, b = _telling_letters(one, lists), _telling_letters(other, lists)
    x, y = map("".join, trimmed(a, b))
    shared = len(a) - len(x)
    if max(len(x), len(y)) > MOST_WORDS:
        return
    if sorted(a) == sorted(b):
        if _are_turned_letters(x, y):
            yield Evidence.ORDER_OF_NAMES
    elif shared < _FEWEST_SHARED_LETTERS:
        return
    elif x and y and max(len(x), len(y)) <= _MOST_EXCHANGED_LETTERS:
        yield Evidence.SPECIAL_EXCHANGE
    elif not (x and y) and 1 < len(x) + len(y) <= MAX_INSERTED_WORDS:
        yield Evidence.SPECIAL_INSERTION


def _telling_letters(text: str, lists: _Lists) -> str:
    """Return a text without signs and function words, and with the first of the words that may replace each other."""
    pattern, replacements = _in_letters(lists.code)
    plain = "".join(letter for letter in text if letter.isalnum())
    return compiled(pattern).sub(lambda found: replacements.get(found[0], ""), plain)


@cache
def _in_letters(code: str) -> tuple[str, Mapping[str, str]]:
    """Return a pattern for the function words and synonyms of a language, and what the synonyms become."""
    parts = [part.split() for line in exclusions().get(code, ()) for part in line]
    replacements = {word: words[0] for words in parts for word in words}
    found = sorted({*function_words()[code], *replacements}, key=lambda word: (-len(word), word))
    return "|".join(found), replacements


def _are_turned_letters(one: str, other: str) -> bool:
    """Return whether a text is the other with beginning and end in each other's place, and something between them."""
    for size in range(1, len(one)):
        head = one[:size]
        if not other.endswith(head):
            continue
        for begin in range(size + 1, len(one)):
            if other == one[begin:] + one[size:begin] + head:
                return True
    return False


def _is_statement(words: Words, text: str, lists: _Lists) -> bool:
    """Return whether a text clearly states something of someone: "Ein Mann singt." asks for nothing.

    Without a full stop, or if a function word follows the noun, it may be what someone looks for: "ein Hotel in Rom".
    """
    begins = len(words) > 2 and words[0] in _A.get(lists.code, "").split() and lists.function.isdisjoint(words[1:3])
    return begins and text.endswith(".")


class _Content(NamedTuple):
    """A word that is no function word, and the function words before it."""

    word: str
    lead: tuple[str, ...]


def _is_turned_round(one: Words, other: Words, lists: _Lists) -> bool:
    """Return whether two parts have changed places, and what stands before the second one has not moved with it.

    "From Oslo to Rome" and "from Rome to Oslo" both have "to" before the second name; "the weather in Oslo" and "in
    Oslo the weather" say the same, as other languages order words more freely than English does.
    """
    a, b = _content(one, lists), _content(other, lists)
    if len(a) != len(b) or len(a) > MOST_WORDS:
        return False
    x = [each.word for each in a]
    y = [next((word for word in x if word == each.word or _are_related(word, each.word, lists)), "") for each in b]
    start = next((at for at, word in enumerate(x) if word != y[at]), 0)
    x, y = map(list, trimmed(x, y))
    if Counter(x) != Counter(y):
        return False
    for head, tail in _exchanges(x, y):
        before, after = a[start + len(x) - tail].lead, b[start + len(x) - head].lead
        if _turns(before, after, lists, is_apart=head + tail < len(x)):
            return True
    return False


def _content(words: Words, lists: _Lists) -> list[_Content]:
    found: list[_Content] = []
    lead: list[str] = []
    for word in words:
        if word in lists.function:
            lead.append(word)
        else:
            found.append(_Content(word, tuple(lead)))
            lead = []
    return found


def _exchanges(one: list[str], other: list[str]) -> Iterator[tuple[int, int]]:
    """Yield how many words at the beginning and at the end of the first are in each other's place in the second."""
    size = len(one)
    for head in range(1, size):
        if one[head - 1] != other[-1]:
            continue
        for tail in range(1, size - head + 1):
            if one[size - tail] == other[0] and other == one[size - tail :] + one[head : size - tail] + one[:head]:
                yield head, tail


def _turns(before: Words, after: Words, lists: _Lists, *, is_apart: bool) -> bool:
    """Return whether an exchange matters, by what stands before the second part in each prompt.

    Args:
        before: the function words before the second part in one prompt.
        after: those in the other prompt.
        lists: the lists of the language.
        is_apart: whether other content words stand between the parts.
    """
    has_stayed = before[:1] == after[:1]
    if lists.code not in _DECLINING_ARTICLES and not has_stayed and before and after:
        # Articles and what is joined to them have the gender of what follows: "ao" and "à", "le" and "la".
        are_short = max(len(before[0]), len(after[0])) <= _SHORT
        has_stayed = are_short and (before[0][0] == after[0][0] or (is_apart and len(before) == len(after) == 1))
    return has_stayed and (is_apart or (bool(before) and not (_joins(before, lists) and _joins(after, lists))))


def _joins(lead: Words, lists: _Lists) -> bool:
    """Return whether these words begin with "and" or "or", and no "then" follows."""
    return lead[0] in lists.joining and _THEN.isdisjoint(lead[1:])
