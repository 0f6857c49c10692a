"""What a call is, seen from outside: what keeps answers apart, what keeps calls from being cached, and what is told."""

from __future__ import annotations

import asyncio
import importlib
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recallm import InMemoryStorage, RecallmWarning, SemanticCache, semantic_cache
from recallm.testing import FakeEmbedder

SYSTEM = "You are a pirate."
SETTINGS = SimpleNamespace(model="small")
LOG: list[str] = []


def options(**changes: Any) -> dict[str, Any]:
    """Return options that cache whatever is decorated, by its key alone."""
    return {"context": {}, "storage": InMemoryStorage(), "embedder": FakeEmbedder(), "guards": (), **changes}


def build(question: str) -> str:
    """Return what is asked, as a helper of the functions below does."""
    return f"{SYSTEM} {SETTINGS.model}: {question}"


class Client:
    """Holds a lock, as clients do."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class Assistant:
    """Has a cached method, settings, a client and books of its own."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.client = Client()
        self.asked = 0
        self.questions: list[str] = []

    @semantic_cache(**options(ignore=("self.client",)))
    def ask(self, question: str) -> str:
        """Answer."""
        self.asked += 1
        self.questions.append(question)
        return f"{self.model}: {question}"

    @semantic_cache(**options())
    def unread(self, question: str) -> str:
        """Answer, though the client cannot be read."""
        return f"{self.model}: {question}"


class Waiting(FakeEmbedder):
    """Does something else while it embeds, as other threads and tasks do."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def embed(self, text: str) -> Any:
        """Embed."""
        self.meanwhile()
        return super().embed(text)


def told(call: Callable[[], object], times: int = 3) -> list[str]:
    """Return the warnings that some equal calls cause, errors of the function aside."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(times):
            try:
                call()
            except TypeError:
                continue
    return [str(warning.message) for warning in caught if warning.category is RecallmWarning]


def test_a_changed_constant_of_a_helper_is_another_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module constant or setting that only a helper reads is noticed at the next call, and back again."""

    @semantic_cache(**options())
    def ask(question: str) -> str:
        LOG.append(question)
        return build(question)

    assert ask("hi") == ask("hi") == "You are a pirate. small: hi"
    monkeypatch.setitem(globals(), "SYSTEM", "You are a lawyer.")
    assert ask("hi") == "You are a lawyer. small: hi"
    monkeypatch.setattr(SETTINGS, "model", "large")
    assert ask("hi") == "You are a lawyer. large: hi"
    monkeypatch.undo()
    assert ask("hi") == "You are a pirate. small: hi"
    assert (ask.stats().hits, ask.stats().misses) == (2, 3)


def test_objects_count_by_what_they_hold_but_for_their_books() -> None:
    """Two assistants of one model share answers, those of another do not, and counting calls changes nothing."""
    one, same, other = Assistant("small"), Assistant("small"), Assistant("large")
    assert [each.ask("hi") for each in (one, one, same, other)] == ["small: hi"] * 3 + ["large: hi"]
    one.model = "large"
    assert one.ask("hi") == "large: hi"
    assert (one.asked, same.asked, other.asked) == (1, 0, 1)


def test_what_cannot_be_read_is_named_with_a_remedy() -> None:
    """The warning names the attribute and its class, once, and the remedy works and leaves the rest counting."""
    assistant = Assistant("small")
    (message,) = told(lambda: assistant.unread("hi"))
    assert "self.client.lock (_thread.lock)" in message
    assert "pass ignore=('self.client.lock',)" in message
    assert assistant.unread.explain("hi").detail == "self.client.lock (_thread.lock)"


def generate(prompt: str) -> Iterator[str]:
    """Generate an answer."""
    yield prompt


async def generate_later(prompt: str) -> AsyncIterator[str]:
    """Generate an answer later."""
    yield prompt


async def coroutine(prompt: str) -> str:
    """Answer later."""
    return prompt


def call_awaitable() -> None:
    """Call a sync function that returns an awaitable."""
    cached = AWAITABLE("hi")
    cached.close()


AWAITABLE: Any = semantic_cache(**options())(lambda prompt: coroutine(f"{prompt}?"))
GENERATED = semantic_cache(**options())(generate)
STREAMED = semantic_cache(**options())(lambda prompt, stream=False: iter(prompt) if stream else prompt)
HISTORY = semantic_cache(**options())(lambda messages: "answer")
PAIR = semantic_cache(**options())(lambda prompt, other: prompt)
RAISING_CONTEXT = lambda kw: {"user": kw["nobody"]}  # noqa: E731  # as users write it
RAISING_LINE = RAISING_CONTEXT.__code__.co_firstlineno
RAISING = semantic_cache(**options(context=RAISING_CONTEXT))(lambda prompt: prompt)
CUT = semantic_cache(**options(prompt=lambda kw: kw["text"][:3]))(lambda text: text)
LOOKED_UP = semantic_cache(**options(prompt=lambda kw: {"cats": "why do cats purr"}[kw["name"]]))(lambda name: name)
COMPOSED = semantic_cache(**options(prompt=lambda kw: f"{kw['topic']}: {kw['q']}"))(lambda topic, q: q)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: list(GENERATED("hi")), "generates its answer"),
        (lambda: list(STREAMED("hi", stream=True)), "streams: stream=True"),
        (call_awaitable, "returns an awaitable: coroutine; pass mode='async'"),
        (lambda: HISTORY([{"role": "assistant", "content": "hi"}]), "no prompt was found in them: 'messages' (list)"),
        (lambda: PAIR(*["hi"]), "missing a required argument: 'other'"),
        (lambda: RAISING("hi"), f"<lambda> ({__file__}:{RAISING_LINE}) raised KeyError while the call was read"),
        (lambda: CUT("hello"), "only a part of 'text', so calls match exactly only; return the whole text"),
        (lambda: COMPOSED("cats", "why?"), "all of 'topic', 'q', pass ignore=('topic', 'q')"),
        (lambda: LOOKED_UP("cats"), "if nothing else of 'name' decides the answer, pass ignore=('name',)"),
    ],
)
def test_what_keeps_calls_from_being_cached_is_told_once(call: Callable[[], object], expected: str) -> None:
    """Whatever keeps a function's calls from being cached, or from matching similar ones, is told once."""
    (message,) = told(call)
    assert expected in message


def test_a_remedy_that_was_followed_is_not_told_again() -> None:
    """Ignoring the arguments that a derived prompt covers lets similar prompts match, and nothing more is told."""
    ask = semantic_cache(**options(prompt=lambda kw: f"{kw['topic']}: {kw['q']}", ignore=("topic", "q")))(
        lambda topic, q, model="m": f"{topic} {q} {model}"
    )
    assert told(lambda: ask("a", "b c")) == []
    assert ask("a", "c b") == "a b c m"
    assert ask("a", "c b", model="n") == "a c b n"


def test_an_answer_to_what_has_changed_meanwhile_is_not_stored() -> None:
    """If a variable changes while the prompt is embedded, the answer is not stored under the old key."""
    embedder, model = Waiting(), "small"

    def use(name: str) -> None:
        nonlocal model
        model = name

    @semantic_cache(**options(embedder=embedder))
    def ask(prompt: str) -> str:
        return f"{model}: {prompt}"

    embedder.meanwhile = lambda: use("large")
    assert told(lambda: ask("hi"), times=1) == [
        "what an answer of " + f"{__name__}.test_an_answer_to_what_has_changed_meanwhile_is_not_stored.<locals>.ask"
        " depends on changed while the call waited, so the answer was not stored; pass copies of what others change "
        "meanwhile"
    ]
    embedder.meanwhile = lambda: None
    use("small")
    assert ask("hi") == "small: hi"
    assert ask.stats().stored == 1


@pytest.mark.filterwarnings("ignore::recallm.RecallmWarning")
def test_a_conversation_that_grows_while_its_call_waits_is_not_stored_as_it_was() -> None:
    """If another task appends to the messages meanwhile, the answer is not served for the shorter conversation."""
    embedder = Waiting()

    @semantic_cache(**options(embedder=embedder))
    async def chat(messages: list[dict[str, str]]) -> str:
        return f"answer to {messages[-1]['content']}"

    def say(text: str) -> dict[str, str]:
        return {"role": "user", "content": text}

    async def main() -> str:
        history = [say("My balance?")]
        embedder.meanwhile = lambda: history.append(say("Delete my account"))
        assert await chat(history) == "answer to Delete my account"
        embedder.meanwhile = lambda: None
        return await chat([say("My balance?")])

    assert asyncio.run(main()) == "answer to My balance?"


def test_an_explanation_tells_what_differs() -> None:
    """`explain` names the context keys and arguments in which a call differs from the nearest one before."""
    ask = semantic_cache(**options(context=None))(lambda prompt, model="m", **extra: f"{prompt} {SYSTEM}")
    ask("hi", cache_context={"user": "ada", "doc": 1}, seed=1)
    assert ask.explain("hi", cache_context={"user": "bob", "doc": 1}, seed=1).differs == ("context['user']",)
    assert ask.explain("hi", "n", cache_context={"user": "ada", "doc": 1}, seed=2).differs == ("model", "seed")
    assert ask.explain("hi", cache_context={"user": "ada", "doc": 1}, seed=1).differs == ()
    assert ask.explain("ho", cache_context={"user": "ada", "doc": 1}, seed=1).differs == ()


def test_a_version_stands_for_the_function() -> None:
    """With `version=` and a namespace, another function of one version shares the answers."""
    storage = InMemoryStorage()

    def cached(version: str, answer: str) -> Any:
        return semantic_cache(**options(storage=storage, version=version, namespace="n"))(lambda prompt: answer)

    assert [cached("1", "a")("hi"), cached("1", "b")("hi"), cached("2", "c")("hi")] == ["a", "a", "c"]


def test_a_librarys_function_is_warned_about_where_it_is_wrapped() -> None:
    """A warning about a function that belongs to a library points at the line that wraps it."""
    import json

    cached = SemanticCache(InMemoryStorage(), embedder=FakeEmbedder()).wrap(json.dumps, prompt="obj", context={})
    with pytest.warns(RecallmWarning, match="no prompt was found") as caught:
        cached({"a": 1})
    assert caught[0].filename == __file__


def test_functions_shared_by_name_only_never_answer_for_each_other() -> None:
    """Two services with the same three lines, in modules of other names, keep their answers apart on one storage."""
    storage, source = InMemoryStorage(), "def ask(question):\n    return f'{__name__}: {question}'\n"

    def service(name: str) -> Any:
        names: dict[str, Any] = {"__name__": name}
        exec(source, names)  # noqa: S102  # the text above
        return semantic_cache(**options(storage=storage))(names["ask"])

    assert [service("support")("hi"), service("sales")("hi")] == ["support: hi", "sales: hi"]


ROUTER = """
class Router:
    def __init__(self, model):
        self.model, self.calls, self.latest = model, 0, []

    def complete(self, prompt):
        count(self, prompt)
        return f"{self.model}: {prompt}"

def count(router, prompt):
    router.calls += 1
    router.latest.append(prompt)
"""


def test_an_object_that_changes_as_it_runs_is_told_with_a_remedy_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library's object that counts its calls is named, and whoever follows the remedy gets hits, and right ones."""
    (tmp_path / "routers.py").write_text(ROUTER)
    monkeypatch.syspath_prepend(tmp_path)
    router: Any = importlib.import_module("routers").Router("small")

    def ask(prompt: str) -> str:
        return str(router.complete(prompt))

    def call(cached: Callable[[str], str]) -> list[str]:
        return [cached("why") for _ in range(9)]

    known: dict[str, Any] = {"threshold": "exact", "storage": "memory://"}
    cached = semantic_cache(context={}, **known)(ask)
    with pytest.warns(
        RecallmWarning, match=r"ask reads differs at each call: router; .*\('router',\), and in context="
    ) as told:
        call(cached)
    call(cached)
    assert (cached.stats().hits, len(told)) == (0, 1)
    mended = semantic_cache(context=lambda kw: {"model": router.model}, ignore=("router",), **known)(ask)
    assert call(mended) == ["small: why"] * 9
    router.model = "large"
    assert call(mended) == ["large: why"] * 9
    assert (mended.stats().hits, mended.stats().misses) == (16, 2)
