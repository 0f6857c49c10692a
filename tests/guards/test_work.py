"""The work of the guards: in proportion to the prompts' length, whatever they hold, and bounded."""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import count, cycle, islice, product, repeat
from typing import Any

import pytest

from recallm import DEFAULT_GUARDS
from recallm.guards import default, prompt
from recallm.guards.prompt import MAX_CHARS, parse
from recallm.guards.word_lists import exclusions, function_words, restrictive_words, words_in_any_list

pytestmark = pytest.mark.untraced

LONG = MAX_CHARS - 100


def words() -> Iterator[str]:
    """Yield words without end, none of them twice."""
    return ("".join(letters) for size in count(3) for letters in product("bcdfghklmnp", repeat=size))


def joined(parts: Iterator[str], size: int) -> str:
    """Return as many parts as make up a prompt of a size."""
    return " ".join(islice(parts, size))[:size].rpartition(" ")[0]


def listed(names: frozenset[str]) -> Iterator[str]:
    """Yield the words of a list in turn, without end."""
    return cycle(sorted(names))


def foreign_words() -> frozenset[str]:
    """Return the German words that exclude others, and the function words."""
    excluding = {word.rstrip("*") for line in exclusions()["de"] for part in line for word in part.split()}
    return function_words()["de"] | excluding


ADVERSARIAL: dict[str, tuple[Callable[[int], str], Callable[[int], str]]] = {
    "other words": (lambda size: joined(words(), size), lambda size: joined((f"{w}x" for w in words()), size)),
    "a word more in each place": (lambda size: joined(words(), size // 2), lambda size: joined(words(), size)),
    "other literals": (
        lambda size: joined((f"v_{w}" for w in words()), size),
        lambda size: joined((f"xv_{w}y" for w in words()), size),
    ),
    "literals that are nearly there": (
        lambda size: joined((f"a_{'a' * 80}{w}" for w in words()), size),
        lambda size: "a" * size,
    ),
    "other names": (
        lambda size: joined((f"of {w.title()}" for w in words()), size),
        lambda size: joined((f"of {w.title()}x" for w in words()), size),
    ),
    "names in another order": (
        lambda size: joined((f"of {w.title()}" for w in words()), size),
        lambda size: " ".join(reversed(joined((f"of {w.title()}" for w in words()), size).split())),
    ),
    "other numbers": (
        lambda size: joined((str(n) for n in count(1)), size),
        lambda size: joined((str(n) for n in count(7)), size),
    ),
    "quantities in another order": (
        lambda size: joined((f"{n} km" for n in range(1, 25)), size) + " " + joined(words(), size - 200),
        lambda size: joined((f"{n} km" for n in range(24, 0, -1)), size) + " " + joined(words(), size - 200),
    ),
    "steps": (
        lambda size: joined(cycle(["tea", "before", "ale", "then"]), size),
        lambda size: joined(cycle(["ale", "before", "tea", "then"]), size),
    ),
    "operators of a search": (
        lambda size: joined((f"a:{w} -{w}" for w in words()), size),
        lambda size: joined((f"-{w} a:{w}" for w in words()), size),
    ),
    "one word": (lambda size: joined(repeat("echo"), size), lambda size: joined(repeat("echo"), size) + " tea"),
    "two words": (
        lambda size: joined(cycle(["tea", "coffee"]), size),
        lambda size: joined(cycle(["coffee", "tea"]), size),
    ),
    "words that narrow": (
        lambda size: joined(listed(restrictive_words()), size // 10) + " " + joined(words(), size // 2),
        lambda size: joined(words(), size),
    ),
    "words of the lists": (
        lambda size: joined(listed(words_in_any_list()), size),
        lambda size: joined(islice(listed(words_in_any_list()), 700, None), size),
    ),
    "special words after prepositions": (
        lambda size: joined(words(), size // 2),
        lambda size: joined(words(), size // 2) + " " + joined((f"on {w}z" for w in words()), size // 2),
    ),
    "phrases": (
        lambda size: joined(cycle("in a very in great in simple as a".split()), size),
        lambda size: joined(cycle("as a simple great in a in detail".split()), size),
    ),
    "words of another language": (
        lambda size: "wie kann ich " + joined(listed(foreign_words()), size - 20),
        lambda size: "wie kann ich " + joined(islice(listed(foreign_words()), 300, None), size - 20),
    ),
    "another order in another language": (
        lambda size: "wie kann ich " + " von ".join(joined(words(), size).split())[: size - 20],
        lambda size: "wie kann ich " + " von ".join(reversed(joined(words(), size // 2).split())),
    ),
    "a long word of another language": (
        lambda size: "wie kann ich das " + "ä" * (size - 20),
        lambda size: "wie kann ich das " + "ä" * (size - 21) + "b",
    ),
    "a long word": (lambda size: "a" * size, lambda size: "a" * (size - 1) + "b"),
    "hyphens": (lambda size: "ab-" * (size // 3), lambda size: "ab-" * (size // 3 - 1)),
    "quotes": (lambda size: "'\"" * (size // 2), lambda size: "'\"" * (size // 2) + "x"),
}
"""By name, what makes two prompts of a size that are dear to compare."""


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions, of Python's or of its built-in types', a function calls."""
    calls = 0

    def on_event(_frame: object, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    earlier = sys.getprofile()
    sys.setprofile(on_event)
    try:
        work()
    finally:
        sys.setprofile(earlier)
    return calls


def judge(one: str, other: str) -> list[bool]:
    """Ask all guards about two prompts."""
    return [guard(one, other) for guard in DEFAULT_GUARDS]


def work_of(kind: str, size: int) -> int:
    """Return how many calls it takes to judge two prompts of a kind that were not met before."""
    one, other = (make(size) for make in ADVERSARIAL[kind])
    judge("warm up", "the lists")
    judge("wie kann ich", "wie kannst du")
    prompt._PARSED.clear()
    default._COMPARED.clear()
    return calls_of(lambda: judge(one, other))


@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_the_work_is_in_proportion_to_the_length(kind: str) -> None:
    """Prompts of eight times the length take no more than about eight times the work, but for a constant."""
    small, large = work_of(kind, LONG // 8), work_of(kind, LONG)
    assert large <= 10 * small + 5_000


@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_the_work_is_bounded(kind: str) -> None:
    """However long prompts are, no more than a few calls for each character are made that may be judged."""
    assert max(work_of(kind, size) for size in (500, 2000, LONG)) <= 16 * MAX_CHARS
    assert work_of(kind, 300_000) <= 200


def test_prompts_that_are_too_long_agree_only_if_they_are_the_same() -> None:
    """A prompt that is too long to be judged is refused by every guard, and serves itself."""
    long = joined(words(), 20 * MAX_CHARS)
    assert judge(long, long[:-1]) == judge(long[:-1], long) == [False] * len(DEFAULT_GUARDS)
    assert judge(long, "short") == judge("short", long) == [False] * len(DEFAULT_GUARDS)
    assert judge(long, "".join(long)) == [True] * len(DEFAULT_GUARDS)


def test_the_longest_prompts_that_are_judged_are_judged_as_short_ones_are() -> None:
    """Up to the bound a prompt that differs in nothing that matters is let through, and one with another name not."""
    text = joined((f"{w}." for w in words()), MAX_CHARS - 30)
    assert all(judge(f"{text} who wrote it?", f"{text} who wrote this?"))
    assert not all(judge(f"{text} is Ann well?", f"{text} is Bob well?"))


BACKTRACKING = {
    "zeros": "1." + "0" * 100_000 + "1",
    "line ends": "a" + "\n" * 100_000 + "-b",
    "spaces": "1" + " " * 100_000 + "b",
    "strokes": "-/" * 50_000,
    "points and strokes": "./" * 50_000,
    "paths": "/a" + "-/" * 50_000,
    "path without an end": "/" + "." * 100_000 + "x",
    "single quotes": "'" * 100_000,
    "nested quotes": "\"'“" * 33_000,
    "open quotes": "'a \"b " * 16_000,
    "back quotes": "`" * 100_000,
    "underlines": "_" * 100_000,
    "identifiers": "a_" * 50_000,
    "dots": "a." * 50_000,
    "calls": "a(" * 50_000,
    "at signs": "a@" * 50_000,
    "addresses": "a@---" * 20_000,
    "plus signs": "a+" * 50_000,
    "capitals": "A" * 100_000,
    "camels": "aB" * 50_000,
    "digits": "1" * 100_000,
    "thousands": "1,000" * 20_000,
    "ordinals": "1st1" * 25_000,
    "thanks": "thank you so much" * 5_000,
    "greetings": "hi there, " * 20_000,
    "signatures": ". best regards, a" * 10_000,
    "worries": "I really " * 20_000 + "worried",
    "questions": "or not" + "." * 100_000 + "a",
    "apostrophes": "it's" * 25_000,
    "comparisons": "=<" * 50_000,
    "ranges": "1-" * 50_000,
    "differences": "1 - " * 25_000,
    "telephone numbers": "+1 " * 33_000,
    "groups of digits": "1,00" * 25_000,
    "exponents": "1e-" * 33_000,
    "dates": "1 may " * 16_000,
    "halves": "a and a half " * 8_000,
    "abbreviations": "A.b." * 25_000,
    "arguments": "f(1," * 25_000,
}


@pytest.mark.parametrize("text", BACKTRACKING.values(), ids=BACKTRACKING)
def test_no_pattern_tracks_back_without_end(text: str) -> None:
    """A text in which a pattern nearly matches in every place is read in a fraction of what its square would take."""
    began = time.thread_time()
    prompt._parsed(text)
    assert time.thread_time() - began < 3


@pytest.mark.slow
def test_readings_are_kept_in_few_megabytes() -> None:
    """However many prompts are judged, of whatever length, the guards keep no more than eight megabytes of them."""
    judge("warm up", "the lists")
    judge("wie kann ich", "wie kannst du")
    prompt._PARSED.clear()
    default._COMPARED.clear()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(20):
            text = joined(islice(words(), 400 * number, None), LONG)
            judge(text, f"{text} {number}")
        for number in range(1000):
            judge(f"What is the price of item {number} in shop {number * 7}?", f"How dear is item {number} there?")
            judge(f"Wie hoch ist der Preis von Artikel {number}?", f"Was muss ich für Artikel {number} bezahlen?")
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 8 * 2**20
    finally:
        tracemalloc.stop()


def test_a_prompt_is_parsed_once_for_all_guards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even the prompts that take most memory are kept as long as one pair of them is judged."""
    parsed: list[str] = []
    inner = prompt._parsed

    def counted(text: str) -> prompt.ParsedPrompt:
        parsed.append(text)
        return inner(text)

    monkeypatch.setattr(prompt, "_parsed", counted)
    one, other = "é b " * (LONG // 4), "b é " * (LONG // 4)
    judge(one, other)
    assert sorted(parsed) == sorted((one, other))
    assert parse(one) is parse(one)
