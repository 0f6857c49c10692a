"""``forget``: entries go by key, by similarity, by namespace, or all, never without a yes."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable

import pytest
from commands.conftest import STORAGE, Ran
from support import small_app

from recallm.testing import StorageContract

Run = Callable[..., Ran]
NAMESPACE = "support.small_app.answer"


@pytest.fixture(autouse=True)
def _asked() -> None:
    """Store three answers, two of them to the same question."""
    for question, user in (("how do I reset my password", "ada"), ("how do I reset my password", "bob"),
                           ("where is my order", "ada")):  # fmt: skip
        small_app.answer(question, user=user)


def prompts() -> list[str]:
    """Return the prompts that are stored."""
    names = small_app.storage.namespaces()
    return sorted(each.entry.prompt for name in names for each in small_app.storage.entries(name))


def terminal(answer: str) -> io.StringIO:
    """Return an input that is a terminal, on which somebody types."""
    stream = io.StringIO(answer)
    stream.isatty = lambda: True  # type: ignore[method-assign]
    return stream


def test_an_entry_is_forgotten_by_its_key(run: Run) -> None:
    """``--key``, which may be repeated and shortened, removes these entries, and tells of those that are not there."""
    keys = {each.entry.prompt: each.entry.key for each in small_app.storage.entries(NAMESPACE)}
    ran = run("forget", STORAGE, "--key", keys["where is my order"][:8], "--key", "0" * 40, "--yes")
    assert (ran.code, ran.out) == (0, "1 entry removed\n")
    assert "no entry with a key that begins with '000" in ran.err
    assert "where is my order" not in prompts()


def test_similar_entries_are_forgotten(run: Run) -> None:
    """``--similar-to`` removes what the model finds similar, at or above the threshold, and nothing else."""
    ran = run("forget", STORAGE, "--similar-to", "reset my password how do I", "--yes", "--json")
    assert (ran.code, ran.json) == (0, {"removed": 2})
    assert prompts() == ["where is my order"]
    assert run("forget", STORAGE, "--similar-to", "reset my password how do I", "--yes").code == 1
    ran = run("forget", STORAGE, "--similar-to", "where is an order", "--threshold", "0.99", "--yes")
    assert (ran.code, ran.out) == (1, "0 entries removed\n")


def test_entries_of_other_models_are_told_and_kept(run: Run) -> None:
    """Vectors of another model are not compared, though they are as long; how many there are is told."""
    small_app.with_other_model("how do I reset my password")
    ran = run("forget", STORAGE, "--similar-to", "how do I reset my password", "--yes")
    assert "1 entries were made by other models, and not compared" in ran.err
    assert "how do I reset my password" in prompts()
    other = run("forget", STORAGE, "--similar-to", "how do I reset my password", "--yes", "--embedder",
                "support.small_app:other_embedder")  # fmt: skip
    assert other.out == "1 entry removed\n"
    assert prompts() == ["where is my order"]


def test_entries_are_forgotten_by_tag(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--tag`` removes the entries with a tag in every namespace, after a question."""
    for namespace in ("n", "m"):
        entry = StorageContract.entry("tagged", namespace=namespace, tags=("doc:42",))
        epoch = small_app.storage.recall(namespace, entry.key).epoch
        assert small_app.storage.put_tagged(entry, epoch, None, time.perf_counter()).kept
    monkeypatch.setattr(sys, "stdin", terminal("y\n"))
    ran = run("forget", STORAGE, "--tag", "doc:42")
    assert ran == Ran(0, "2 entries removed\n", "Remove all entries with tag 'doc:42'? [y/N] ")
    assert "tagged" not in prompts()
    assert run("forget", STORAGE, "--tag", "doc:42", "--yes").code == 1


def test_a_namespace_is_forgotten(run: Run) -> None:
    """``--namespace`` alone removes it whole; the other namespaces stay."""
    small_app.typed("what is this about")
    held = len(prompts())
    ran = run("forget", STORAGE, "--namespace", NAMESPACE, "--yes")
    assert ran == Ran(0, f"{held - 1} entries removed\n", "")
    assert prompts() == ["what is this about"]


@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("YES\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_a_question_is_asked_first(run: Run, monkeypatch: pytest.MonkeyPatch, typed: str, code: int) -> None:
    """Without ``--yes`` it shows what is to go and asks; only a yes removes it."""
    held = len(prompts())
    monkeypatch.setattr(sys, "stdin", terminal(typed))
    ran = run("forget", STORAGE, "--all")
    assert ran.code == code
    assert NAMESPACE in ran.out
    assert f"Remove these {held} entries? [y/N] " in ran.err
    assert len(prompts()) == (0 if code == 0 else held)


def test_what_is_similar_is_shown_before_the_question(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before entries go, their prompts and similarities are shown."""
    monkeypatch.setattr(sys, "stdin", terminal("n\n"))
    ran = run("forget", STORAGE, "--similar-to", "where is my order")
    assert "1.000  where is my order" in ran.out
    assert "Remove this entry? [y/N]" in ran.err
    assert "where is my order" in prompts()


def test_nobody_to_ask_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a script nothing is removed without ``--yes``."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    held = prompts()
    ran = run("forget", STORAGE, "--all")
    assert ran.code == 2
    assert "nobody can be asked here: Remove these 3 entries? Pass --yes" in ran.err
    assert prompts() == held


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "say what to forget: --key, --tag, --similar-to, --namespace or --all"),
        (("--all", "--namespace", "n"), "--all is about every namespace"),
        (("--tag", "t", "--namespace", "n"), "--tag is about every namespace"),
        (("--similar-to", "x", "--threshold", "near"), "--threshold='near'"),
        (("--similar-to", "x", "--threshold", "3"), "--threshold=3.0 is outside"),
    ],
)
def test_what_is_not_clear_is_refused(run: Run, words: tuple[str, ...], told: str) -> None:
    """What does not say clearly what is to go is an error, and removes nothing."""
    held = prompts()
    ran = run("forget", STORAGE, *words, "--yes")
    assert ran.code == 2
    assert told in ran.err
    assert prompts() == held
