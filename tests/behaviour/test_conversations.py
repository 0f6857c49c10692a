"""Conversations: whose answer a history may get that is similar, and a last turn that stands alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from benchmarks.conversations import MODES, Conversations, conversations, is_served, messages, shares
from hypothesis import given
from hypothesis import strategies as st
from support.redis_servers import Server
from support.redis_storages import storage_on

from recallm import InMemoryStorage, semantic_cache, standalone
from recallm.embedders.fastembed import FastEmbedEmbedder
from recallm.testing import FakeEmbedder

MODEL = "m"


class Calls:
    """A function that counts its calls, sync and async."""

    def __init__(self) -> None:
        self.count = 0

    def ask(self, messages: Any, model: str = MODEL) -> str:
        """Answer."""
        self.count += 1
        return "an answer"

    async def aask(self, messages: Any, model: str = MODEL) -> str:
        """Answer."""
        self.count += 1
        return "an answer"


def cached(calls: Calls, *, asynchronous: bool = False, **options: Any) -> Callable[..., Any]:
    """Return a cached function that is called in place; its event loop, if it needs one, is its own."""
    known = {"context": {}, "storage": InMemoryStorage(), "embedder": FakeEmbedder(), "ignore": ("self",)}
    function: Any = semantic_cache(**{**known, **options})(calls.aask if asynchronous else calls.ask)
    return (lambda *args, **kw: asyncio.run(function(*args, **kw))) if asynchronous else function


ONE = ("how do i reset the router", "press the small button behind it", "and then")
REWORDED = ("how do i reset the router then", "press the small button behind it", "and then")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_similar_history_is_served(asynchronous: bool) -> None:
    """A reworded conversation gets the answer, which it does not as long as its history must be equal."""
    calls = Calls()
    ask = cached(calls, asynchronous=asynchronous, history="similar", guards=())
    assert ask(messages(ONE)) == ask(messages(REWORDED)) == ask(messages(ONE))
    assert calls.count == 1
    ask = cached(calls, asynchronous=asynchronous, guards=())
    ask(messages(ONE)), ask(messages(REWORDED))
    assert calls.count == 3


@pytest.mark.parametrize(
    "other",
    [
        {"messages": [{"role": "system", "content": "be brief"}, *messages(REWORDED)]},
        {"messages": [*messages(REWORDED), {"role": "assistant", "content": "then"}]},
        {"messages": messages(("hi", "hi", *REWORDED))},
        {"messages": messages(REWORDED), "model": "other"},
        {"messages": messages(("tell me more about rice", "press the small button behind it", "and then"))},
        {"messages": messages(("how do i reset the router", "boil it for ten minutes", "and then"))},
    ],
)
def test_all_but_similar_texts_keeps_conversations_apart(other: dict[str, Any]) -> None:
    """System prompts, number of turns, other arguments and unlike turns miss."""
    calls = Calls()
    ask = cached(calls, history="similar", guards=())
    ask(messages(ONE))
    ask(**other)
    assert calls.count == 2


def test_a_veto_of_the_history_is_counted_and_explained() -> None:
    """What kept a similar last turn from being served has a name."""
    ask: Any = cached(Calls(), history="similar", guards=())
    ask(messages(ONE))
    unlike = messages(("how do i cook rice", "boil it for ten minutes", "and then"))
    explained = ask.explain(unlike)
    assert (explained.outcome, explained.reason, explained.vetoed_by) == ("miss", "vetoed", "history")
    ask(unlike)
    assert ask.stats().vetoes == {"history": 1}


def test_functions_that_differ_in_the_option_share_no_answer() -> None:
    """What was stored while the history may be similar is not served where it must be equal, and the reverse."""
    storage, calls = InMemoryStorage(), Calls()
    for history in ("similar", "equal"):
        ask = cached(calls, history=history, storage=storage, version="1", namespace="n", guards=())
        ask(messages(ONE[:1])), ask(messages(ONE))
    assert calls.count == 4


def test_what_a_call_would_hit_is_invalidated_with_its_history() -> None:
    """The very conversation and those with a similar history are removed; one of another subject stays."""
    ask: Any = cached(Calls(), history="similar", guards=())
    ask(messages(ONE))
    ask(messages(("how do i cook rice", "boil it for ten minutes", "and then")))
    assert ask.invalidate(messages(REWORDED)) == 1
    assert ask.explain(messages(ONE)).outcome == "miss"


def test_nothing_similar_is_left_to_serve_a_call_that_was_invalidated() -> None:
    """However many conversations with similar histories are stored, of which a look-up judges a few, all go."""
    ask: Any = cached(Calls(), history="similar", guards=())
    ask(messages(("how do i cook rice", "boil it for ten minutes", "and then")))
    for word in "now please today again here maybe soon quick really then at once".split():
        ask.refresh(messages((f"how do i reset the router {word}", "press the small button behind it", "and then")))
    assert ask.invalidate(messages(ONE)) == 12
    assert ask.explain(messages(ONE)).outcome == "miss"
    assert sum(ask.stats().namespace_sizes.values()) == 1


class Forgetful(FakeEmbedder):
    """An embedder that fails at all texts but one."""

    def embed(self, text: str) -> Any:
        """Embed the last turn alone."""
        if text != ONE[-1]:
            raise ZeroDivisionError
        return super().embed(text)


def test_without_vectors_the_history_must_be_equal() -> None:
    """If the turns cannot be embedded the call goes on, gets what an equal history gets, and the trouble is counted."""
    calls = Calls()
    ask: Any = cached(calls, history="similar", guards=(), embedder=Forgetful())
    ask(messages(ONE)), ask(messages(REWORDED)), ask(messages(ONE))
    assert (calls.count, ask.stats().hits, ask.stats().errors) == (2, 1, {"embedding": 1})


class Alike(FakeEmbedder):
    """A model by which all texts are alike: their cosines are 0.8 and more."""

    thresholds: Mapping[str, float] = {"balanced": 0.98}

    def embed(self, text: str) -> Any:
        """Return a vector that shares most of its length with all others."""
        return [2.0, *super().embed(text)]


def test_histories_are_compared_on_the_scale_of_the_model() -> None:
    """What has nothing in common has a high cosine by some models, and is no similar history for that."""
    calls = Calls()
    ask = cached(calls, history="similar", guards=(), embedder=Alike())
    ask(messages(ONE)), ask(messages(("how do i reset the router", "boil it for ten minutes", "and then")))
    assert calls.count == 2
    ask(messages(REWORDED))
    assert calls.count == 2


def test_a_verifier_is_shown_whole_conversations() -> None:
    """Whether an answer serves cannot be told by the last turn alone."""
    shown: list[tuple[str, str]] = []

    def verify(prompt: str, cached_prompt: str, response: object) -> bool:
        shown.append((prompt, cached_prompt))
        return True

    ask = cached(Calls(), history="similar", guards=(), verify=verify)
    ask(messages(ONE)), ask(messages(REWORDED))
    [(prompt, cached_prompt)] = shown
    assert all(text in prompt for text in REWORDED)
    assert all(text in cached_prompt for text in ONE)


def question_of_all(messages: Any) -> str:
    """Return the same question for every conversation."""
    return "what is it"


texts = st.sampled_from(["how do i reset it", "how do i reset it now", "press 3", "why", "why so"])
talks = st.lists(texts, min_size=1, max_size=5).filter(lambda each: len(each) % 2 == 1)


def called(talk: list[list[str]], *, asynchronous: bool = False, **options: Any) -> list[int]:
    """Return how often the function was called after each conversation."""
    calls = Calls()
    ask = cached(calls, asynchronous=asynchronous, **options)
    return [ask(messages(each)) and calls.count for each in talk]


@given(st.lists(talks, max_size=5), st.sampled_from([0.5, 0.92]))
def test_sync_and_async_calls_are_served_alike(talk: list[list[str]], threshold: float) -> None:
    """Whatever is asked in whatever order, both kinds of calls hit alike."""
    alike = [called(talk, history="similar", threshold=threshold, asynchronous=each) for each in (False, True)]
    assert alike[0] == alike[1]


@given(talks, talks, st.sampled_from([0.5, 0.92]))
def test_what_an_equal_history_serves_a_similar_one_serves(one: list[str], other: list[str], threshold: float) -> None:
    """A conversation gets no less than it would if its history had to be equal."""
    similar, equal = (called([one, other], history=each, threshold=threshold) for each in ("similar", "equal"))
    assert similar <= equal


SHARING: list[dict[str, Any]] = [{"history": "similar"}, {"prompt": standalone(question_of_all)}]


@given(talks, talks, st.text(max_size=3), st.text(max_size=3), st.sampled_from(SHARING))
def test_conversations_under_other_instructions_share_nothing(
    one: list[str], other: list[str], mine: str, theirs: str, options: Any
) -> None:
    """Whatever the turns are, the system prompts of two conversations that share an answer are equal."""
    calls = Calls()
    ask: Any = cached(calls, threshold=0.0, guards=(), **options)
    ask([{"role": "system", "content": mine}, *messages(one)])
    explained = ask.explain([{"role": "system", "content": theirs}, *messages(other)])
    assert explained.outcome == "miss" or mine == theirs


@pytest.fixture(scope="module")
def offline() -> FastEmbedEmbedder:
    """The offline model, loaded."""
    embedder = FastEmbedEmbedder.offline(threads=1)
    embedder.load()
    return embedder


@pytest.fixture(scope="module")
def pairs() -> list[Conversations]:
    """Conversations labelled by hand."""
    return conversations(Path(__file__).parents[1] / "data" / "conversations.jsonl")


@pytest.mark.parametrize(("mode", "least", "most_wrong"), [("equal", 4, 0), ("similar", 12, 0)])
def test_of_labelled_conversations_the_same_are_served(
    offline: FastEmbedEmbedder, pairs: list[Conversations], mode: str, least: int, most_wrong: int
) -> None:
    """With the real model, a similar history serves several times what an equal one does, and no look-alike."""
    ask = cached(Calls(), embedder=offline, **MODES[mode])
    right, wrong = shares(pairs, [is_served(ask, pair) for pair in pairs])
    assert right >= least
    assert wrong <= most_wrong


QUESTIONS = {"and in winter": "weather in oslo in winter", "and when it is winter": "in winter weather in oslo"}


def rewrite(messages: Any) -> str | None:
    """Return the question that a model might make of a conversation."""
    return QUESTIONS.get(messages[-1]["content"])


async def arewrite(messages: Any) -> str | None:
    """Return the same later."""
    await asyncio.sleep(0)
    return rewrite(messages)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("rewriter", [rewrite, arewrite])
@pytest.mark.parametrize("ignore", [("self",), ("self", "messages")])
def test_last_turns_that_ask_the_same_share_an_answer(asynchronous: bool, rewriter: Any, ignore: Any) -> None:
    """Conversations of any length share the answer to one question, and so does the question itself."""
    calls = Calls()
    ask = cached(calls, asynchronous=asynchronous, prompt=standalone(rewriter), ignore=ignore)
    ask(messages(("weather in oslo", "mild", "and in winter")))
    ask(messages(("hi", "hello", "weather in oslo", "it is mild", "and when it is winter")))
    ask(messages(["weather in oslo in winter"]))
    assert calls.count == 1
    ask([{"role": "system", "content": "be brief"}, *messages(["weather in oslo in winter"])])
    assert calls.count == 2


def fails(messages: Any) -> str:
    """Raise."""
    raise ZeroDivisionError


def blank(messages: Any) -> str:
    """Return nothing."""
    return " "


def number(messages: Any) -> Any:
    """Return no text."""
    return 1


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("ignore", [("self",), ("self", "messages")])
@pytest.mark.parametrize(("rewriter", "errors"), [(fails, {"rewrite": 3}), (number, {"rewrite": 3}), (blank, {})])
def test_a_turn_that_cannot_be_rewritten_needs_an_equal_history(
    asynchronous: bool, ignore: Any, rewriter: Any, errors: Any
) -> None:
    """Then the last turn serves with its own history alone, though the messages are ignored; trouble is counted."""
    calls = Calls()
    known = {"context": {}, "storage": InMemoryStorage(), "embedder": FakeEmbedder(), "ignore": ignore}
    ask: Any = semantic_cache(**known, prompt=standalone(rewriter))(calls.aask if asynchronous else calls.ask)
    for talk in (ONE, REWORDED, ONE):
        answer = ask(messages(talk))
        assert (asyncio.run(answer) if asynchronous else answer) == "an answer"
    assert (calls.count, ask.stats().hits, ask.stats().errors) == (2, 1, errors)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_rewriting_that_takes_too_long_is_left_behind(asynchronous: bool) -> None:
    """The call goes on with an equal history, and what comes later is not kept: the messages may have changed."""
    may_end = threading.Event()

    def rewrite_slowly(messages: Any) -> str:
        may_end.wait(20.0)
        return "weather in oslo in winter"

    calls = Calls()
    prompt = standalone(rewrite_slowly, timeout=0.02)
    ask = cached(calls, asynchronous=asynchronous, prompt=prompt)
    talk = messages(("weather in oslo", "mild", "and in winter"))
    assert ask(talk) == "an answer"
    may_end.set()
    assert ask(messages(["weather in oslo in winter"])) == "an answer"
    assert calls.count == 2


def test_a_conversation_that_changes_while_it_is_rewritten_is_not_remembered() -> None:
    """Its question is not that of the conversation that the call began with."""
    talk = messages(("weather in oslo", "mild", "and in winter"))

    def rewrite_and_change(messages: Any) -> str:
        messages[0]["content"] = "weather in rome"
        return "weather in rome in winter"

    calls = Calls()
    ask = cached(calls, prompt=standalone(rewrite_and_change))
    ask(talk)
    ask(messages(["weather in rome in winter"]))
    ask(messages(("weather in oslo", "mild", "and in winter")))
    assert calls.count == 3


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_a_rewriter_adds_to_the_messages_is_not_answered(asynchronous: bool) -> None:
    """The function gets the caller's messages, without the line that tells a model to rewrite them."""

    def rewrite_and_add(messages: Any) -> str:
        messages.append({"role": "user", "content": "rewrite this as a question of its own"})
        return "weather in oslo in winter"

    calls, talk = Calls(), messages(("weather in oslo", "mild", "and in winter"))
    ask = cached(calls, asynchronous=asynchronous, prompt=standalone(rewrite_and_add))
    ask(talk), ask(messages(["weather in oslo in winter"]))
    assert (len(talk), calls.count) == (3, 1)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("rewriter_is_async", [False, True])
def test_a_rewriter_may_call_the_function_that_it_rewrites_for(asynchronous: bool, rewriter_is_async: bool) -> None:
    """Its own call of the same model is cached like others, but not rewritten, which would have no end."""
    asked: list[str] = []
    instruction = {"role": "system", "content": "rewrite the last message"}

    def answer(messages: Any) -> str:
        asked.append(messages[0]["role"])
        return "weather in oslo in winter" if messages[0] == instruction else "cold"

    async def answer_async(messages: Any) -> str:
        return answer(messages)

    def call_itself(messages: Any) -> Any:
        return ask([instruction, *messages])

    async def call_itself_async(messages: Any) -> Any:
        return await ask([instruction, *messages]) if asynchronous else ask([instruction, *messages])

    prompt = standalone(call_itself_async if rewriter_is_async else call_itself)
    options: dict[str, Any] = {"context": {}, "storage": InMemoryStorage(), "embedder": FakeEmbedder(), "version": "1"}
    ask: Any = semantic_cache(**options, prompt=prompt)(answer_async if asynchronous else answer)
    for talk in (("weather in oslo", "mild", "and in winter"), ["weather in oslo in winter"]):
        found = ask(messages(talk))
        assert (asyncio.run(found) if asynchronous else found) == "cold"
    assert asked == ["system", "user"]
    assert ask.stats().errors == {}


def test_a_conversation_is_rewritten_once() -> None:
    """What a call had rewritten is remembered; what only explains or invalidates uses it, and adds nothing."""
    asked: list[int] = []

    def rewrite_counted(messages: Any) -> str:
        asked.append(len(messages))
        return "weather in oslo in winter"

    ask: Any = cached(Calls(), prompt=standalone(rewrite_counted))
    talk = messages(("weather in oslo", "mild", "and in winter"))
    ask(talk), ask(talk)
    assert ask.explain(talk).outcome == "hit"
    assert ask.invalidate(talk) == 1
    assert asked == [3]
    for _ in range(2):
        ask.explain(messages(("weather in rome", "mild", "and in winter")))
    assert asked == [3, 3, 3]


class Moody:
    """A rewriter that fails while it is down."""

    is_down = False

    def rewrite(self, messages: Any) -> str:
        """Return a question."""
        if self.is_down:
            raise ZeroDivisionError
        return "weather in oslo in winter"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_answer_from_while_nothing_was_rewritten_is_invalidated_too(asynchronous: bool) -> None:
    """A call may come to be served it again, as soon as rewriting fails."""
    moody, talk = Moody(), messages(("weather in oslo", "mild", "and in winter"))
    known: dict[str, Any] = {
        "context": {},
        "storage": InMemoryStorage(),
        "embedder": FakeEmbedder(),
        "ignore": ("self",),
    }
    function = Calls().aask if asynchronous else Calls().ask
    ask: Any = semantic_cache(**known, prompt=standalone(moody.rewrite, memo_bytes=1))(function)

    def call() -> None:
        asyncio.run(ask(talk)) if asynchronous else ask(talk)

    moody.is_down = True
    call()
    moody.is_down = False
    call()
    assert (asyncio.run(ask.ainvalidate(talk)) if asynchronous else ask.invalidate(talk)) == 2
    moody.is_down = True
    assert ask.explain(talk).outcome == "miss"


def test_whoever_invalidates_learns_that_the_question_is_not_known() -> None:
    """The answer to the question may still be there."""
    moody, talk = Moody(), messages(("weather in oslo", "mild", "and in winter"))
    ask: Any = cached(Calls(), prompt=standalone(moody.rewrite, memo_bytes=1))
    ask(talk)
    moody.is_down = True
    with pytest.raises(ZeroDivisionError):
        ask.invalidate(talk)
    moody.is_down = False
    assert ask.explain(talk).outcome == "hit"


@pytest.mark.parametrize("options", [{"history": "similar", "guards": ()}, {"prompt": standalone(rewrite)}])
def test_conversations_are_kept_by_a_server(options: dict[str, Any], redis_server: Server) -> None:
    """Entries keep what is compared, so another process finds them."""
    redis_server.empty()
    calls = Calls()
    for talk in (ONE, REWORDED) if "history" in options else (("a", "b", "and in winter"), ("c", "d", "and in winter")):
        ask = cached(calls, storage=storage_on(redis_server), namespace="n", version="1", **options)
        ask(messages(talk))
    assert calls.count == 1
