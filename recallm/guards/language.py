"""The language of a prompt, told by words that any prompt of that language has.

Most guards know English words only, and take those of other languages for names or for matters of their own. So they
are asked about English alone. A prompt is in another language only if there is evidence of that one: function words
that outweigh the English words, or another script. Without evidence it counts as English, whose guards refuse more.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from recallm.guards.word_lists import (
    english_too,
    function_words,
    request_words,
    telling_words,
    word_endings,
    words_in_any_list,
)

MOST_WORDS = 60
"""How many words of a prompt are looked at: its language shows long before."""

_STRONG, _WEAK, _ENGLISH_FUNCTION_WORD = 3, 1, 4
"""How much a word tells of a language: one function word is enough that English and names do not have."""

_SHORT = 2
"""Words of so few letters are in many languages and abbreviations: they tell little."""

_LEAST_BEFORE_AN_ENDING = 3
"""How many letters a word has before an ending that tells of its language."""

_LONGEST_ENDING = 6
"""How many letters the longest of those endings has that are looked for."""

_ACCENTED = "accented"
"""Stands in for a language: letters with accents tell that a text is not English, but not what it is."""

_MOST_USED = ("es", "fr", "de", "pt", "it", "nl", "pl", "tr", "sv", "fi", "id", "vi", "cs", "ro", "hu", "no")
"""Languages of which there may be as much evidence, those that are used most first."""

_SCRIPTS = {
    "CYRILLIC": "ru", "GREEK": "el", "ARABIC": "ar", "HEBREW": "he", "DEVANAGARI": "hi", "CJK": "zh", "HIRAGANA": "ja",
    "KATAKANA": "ja", "HANGUL": "ko", "THAI": "th",
}  # fmt: skip
"""The language that a script is most used for, by how the names of its letters begin."""

Clues = tuple[tuple[str, int], ...]
"""The languages that a word may be of, each with how much it tells of them."""


class Language(NamedTuple):
    """The language of a prompt.

    Attributes:
        code: its code, "en" if nothing tells of another one; of a script without a code, the name of the script.
        is_sure: whether there is evidence of this language and clearly less of all others.
    """

    code: str
    is_sure: bool


_ENGLISH = Language("en", is_sure=True)
_ONLY_ENGLISH: Clues = (("en", _ENGLISH_FUNCTION_WORD),)
_AN_ENGLISH_WORD: Clues = (("en", _WEAK),)


def language_of(words: Sequence[str], prompt: str = "", quoted: Iterable[str] = ()) -> Language:
    """Return the language of a prompt.

    A prompt that begins as only English ones do is English, whatever words it asks about.

    Args:
        words: the words of the prompt, in lower case and in their order.
        prompt: the prompt, for its signs.
        quoted: texts that the prompt quotes, in lower case: their words tell nothing.

    >>> language_of("wie ändere ich mein passwort".split()).code
    'de'
    >>> language_of("what does schadenfreude mean".split()).code
    'en'
    """
    known = _known_words()
    if words and known.get(words[0]) is _ONLY_ENGLISH:
        return _ENGLISH
    scores: Counter[str] = Counter({"es": _STRONG} if "¿" in prompt or "¡" in prompt else ())
    # Each word once: what a prompt repeats may be a name or a variable.
    read = dict.fromkeys(words[:MOST_WORDS])
    skipped = {word for text in quoted for word in text.split()}
    for word in [word for word in read if word not in skipped] or read:
        for language, weight in known.get(word) or _of_unknown(word):
            scores[language] += weight
    return _best(scores)


def _of_unknown(word: str) -> Clues:
    """Return what an unknown word tells: its parts, its script, its accents or its ending."""
    if "-" in word:
        return tuple(clue for part in word.split("-") for clue in _known_words().get(part, ()))
    if word in words_in_any_list():
        return _AN_ENGLISH_WORD
    if word[-1].isalpha() and not word[-1].isascii() and len(word) > 1:
        script = unicodedata.name(word[-1], "LATIN").partition(" ")[0]
        if script != "LATIN":
            return ((_SCRIPTS.get(script, script), _STRONG),)
    endings = _known_endings()
    ends = (word[at:] for at in range(max(_LEAST_BEFORE_AN_ENDING, len(word) - _LONGEST_ENDING), len(word) - 1))
    found = next((endings[end] for end in ends if end in endings), ())
    return found or (() if word.isascii() else ((_ACCENTED, _WEAK),))


def _best(scores: Counter[str]) -> Language:
    """Return the language with the most evidence; English unless there is more of another one."""
    english = scores.pop("en", 0)
    accented = min(scores.pop(_ACCENTED, 0), _WEAK)
    first, second, *_ = *sorted(scores.values(), reverse=True), 0, 0
    if first + accented < _STRONG or first + accented <= english:
        return Language("en", is_sure=english > max(_STRONG, 2 * first))
    code = next(code for code in (*_MOST_USED, *scores) if scores[code] == first)
    return Language(code, is_sure=first >= second + _STRONG and first > 2 * english)


@cache
def _known_words() -> Mapping[str, Clues]:
    """Return what each function word tells, with and without its accents."""
    found: dict[str, set[str]] = {}
    for language, words in (*function_words().items(), *telling_words().items()):
        for word in words:
            for spelling in {word, unaccented(word)}:
                found.setdefault(spelling, set()).add(language)
    for word in request_words() & found.keys():
        found[word].add("en")
    return {word: _weighed(word, languages) for word, languages in found.items()}


def _weighed(word: str, languages: Collection[str]) -> Clues:
    if languages == {"en"}:
        return _ONLY_ENGLISH
    is_weak = len(word) <= _SHORT or "en" in languages or word in english_too()
    return tuple((language, _WEAK if is_weak else _STRONG) for language in sorted(languages))


@cache
def _known_endings() -> Mapping[str, Clues]:
    """Return, for each ending, with and without its accents, the languages of the words that have it."""
    found: dict[str, set[str]] = {}
    for language, endings in word_endings().items():
        for ending in endings:
            for spelling in {ending, unaccented(ending)}:
                found.setdefault(spelling, set()).add(language)
    return {ending: tuple((language, _WEAK) for language in sorted(found[ending])) for ending in found}


_PLAIN = str.maketrans({"ß": "ss", "ø": "o", "đ": "d", "ł": "l", "ı": "i", "æ": "ae", "œ": "oe"})


def unaccented(word: str) -> str:
    """Return a word in lower case as people type it who leave out its accents.

    >>> unaccented("größe"), unaccented("cómo"), unaccented("değil")
    ('grosse', 'como', 'degil')
    """
    if word.isascii():
        return word
    letters = unicodedata.normalize("NFD", word.translate(_PLAIN))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
