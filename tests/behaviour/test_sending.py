"""A cached function that is sent to another process works there as it does here, and finds what is stored for both."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import json
import pickle
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

import cloudpickle
import pytest
from support.folder_storage import FolderStorage
from support.programs import run_python

import recallm
from recallm import CacheConfig, InMemoryStorage, SemanticCache, ThreadSafeInMemoryStorage, semantic_cache
from recallm.embedders.fastembed import FastEmbedEmbedder
from recallm.engine import sending
from recallm.testing import FakeEmbedder

SCRIPT = """
import asyncio, enum, functools, json, os, sys
from dataclasses import dataclass
from pathlib import Path
from support.folder_storage import FolderStorage
from recallm import semantic_cache
from recallm.testing import FakeEmbedder

FOLDER = str(Path(__file__).parent)
PREFIX = "about"

class Loudness(enum.Enum):
    QUIET = 1
    LOUD = 2

@dataclass
class Answer:
    text: str

@dataclass
class Style:
    loudness: Loudness
    ask: object = None

def helper(text):
    return f"{PREFIX} {text}"

def note(what):
    with open(os.path.join(FOLDER, "calls.txt"), "a") as file:
        file.write(what + "\\n")

def cached(fn):
    options = {"context": {"tenant": 1}, "guards": (), "storage": FolderStorage(FOLDER)}
    return semantic_cache(**options, embedder=FakeEmbedder())(fn)

@cached
def ask(question: str, style: Style = Style(Loudness.QUIET)) -> Answer:
    note("ask")
    return ask("shallow " + question[5:], style) if question.startswith("deep ") else Answer(helper(question))

@cached
async def later(question):
    note("later")
    return question.upper()

class Agent:
    def __init__(self, name):
        self.name = name

    @cached
    def method(self, question):
        note("method")
        return f"{self.name} {question}"

    @cached
    @classmethod
    def by_class(cls, question):
        note("class")
        return f"{cls.__name__} {question}"

    @cached
    @staticmethod
    def static(question):
        note("static")
        return f"static {question}"

def closure(number):
    @cached
    def inner(question):
        note("closure")
        return f"{number} {question}"
    return inner

class Tool:
    def __init__(self, name):
        self.name = name

    def __call__(self, question):
        note("tool")
        return f"{self.name} {question}"

FUNCTIONS = {
    "function": lambda: ask,
    "async": lambda: later,
    "method": lambda: Agent("a").method,
    "unbound": lambda: functools.partial(Agent.method, Agent("b")),
    "class": lambda: Agent.by_class,
    "static": lambda: Agent.static,
    "closure": lambda: closure(3),
    "partial": lambda: functools.partial(ask, style=Style(Loudness.LOUD)),
    "holder": lambda: Style(Loudness.LOUD, ask).ask,
    "object": lambda: cached(Tool("t")),
}

def asked(function, question):
    result = function(question)
    return repr(asyncio.run(result) if asyncio.iscoroutine(result) else result)

def calls():
    return len(open(os.path.join(FOLDER, "calls.txt")).readlines())
"""

SENDER = """
if __name__ == "__main__":
    import cloudpickle
    functions = {name: make() for name, make in FUNCTIONS.items()}
    expected = {name: asked(function, name) for name, function in functions.items()}
    Path(FOLDER, "sent").write_bytes(cloudpickle.dumps((functions, expected, asked)))
    print(calls())
"""

RECEIVER = """
import json, pickle, sys
functions, expected, asked = pickle.load(open("sent", "rb"))
assert {name: asked(function, name) for name, function in functions.items()} == expected
print(json.dumps({name: type(function).__name__ for name, function in functions.items()}))
print(functions["function"].stats().hits, asked(functions["function"], "deep sea"))
"""

POOLS = {
    "joblib": "from joblib import Parallel, delayed\n"
    "    answers = Parallel(n_jobs=2)(delayed(asked)(ask, question) for question in QUESTIONS)",
    "spawn": "from concurrent.futures import ProcessPoolExecutor; from multiprocessing import get_context\n"
    "    with ProcessPoolExecutor(2, get_context('spawn')) as pool:\n"
    "        answers = list(pool.map(asked, [ask] * len(QUESTIONS), QUESTIONS))",
    "fork": "from concurrent.futures import ProcessPoolExecutor; from multiprocessing import get_context\n"
    "    with ProcessPoolExecutor(2, get_context('fork')) as pool:\n"
    "        answers = list(pool.map(asked, [ask] * len(QUESTIONS), QUESTIONS))",
}

POOLED = """
QUESTIONS = ["a", "b", "c", "a", "b"]
if __name__ == "__main__":
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking a process with threads
    here = [asked(ask, question) for question in QUESTIONS[:2]]
    {work}
    before = calls()
    answers.append(asked(ask, "c"))
    print(json.dumps([answers, before, calls()]))
"""


def script(folder: Path, source: str) -> str:
    """Write a script, run it, and return what it printed."""
    (folder / "shop.py").write_text(SCRIPT + source, encoding="utf-8")
    return run_python("shop.py", folder=folder)


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_workers_find_what_the_script_has_stored(tmp_path: Path, pool: str) -> None:
    """Workers get a cached function of a script that finds what the script stored, and stores what the script finds."""
    answers, in_workers, afterwards = json.loads(script(tmp_path, POOLED.replace("{work}", POOLS[pool])))
    assert answers == [f"Answer(text='about {question}')" for question in "abcabc"]
    assert in_workers == afterwards == 3


@pytest.mark.parametrize(
    "main", ["receiver.py", *(pytest.param(each, marks=pytest.mark.slow) for each in ("-c", "-m"))]
)
def test_what_cloudpickle_sends_finds_what_the_sender_stored(tmp_path: Path, main: str) -> None:
    """Every way of holding a cached function can be sent to a process that runs another program, and hits there."""
    stored = int(script(tmp_path, SENDER))
    (tmp_path / "receiver.py").write_text(RECEIVER, encoding="utf-8")
    (tmp_path / "shop.py").unlink()
    command = {"receiver.py": ["receiver.py"], "-c": ["-c", RECEIVER], "-m": ["-m", "receiver"]}[main]
    kinds, asked = run_python(*command, folder=tmp_path).splitlines()
    assert set(json.loads(kinds).values()) == {"CachedFunction", "BoundCachedFunction", "partial"}
    assert asked == "3 Answer(text='about shallow sea')"
    assert len((tmp_path / "calls.txt").read_text().splitlines()) == stored + 2


def test_what_is_kept_in_memory_is_not_sent(tmp_path: Path) -> None:
    """The receiver begins with an empty storage of its own, with the same bound; what is sent again shares it."""
    source = (
        "import cloudpickle\n"
        "from recallm import semantic_cache, ThreadSafeInMemoryStorage\n"
        "storage = ThreadSafeInMemoryStorage(max_entries=7)\n"
        "@semantic_cache(context={}, threshold='exact', storage=storage)\n"
        "def ask(q): return q\n"
        "@semantic_cache(context={}, threshold='exact', storage=storage)\n"
        "def other(q): return q\n"
        "ask('a')\n"
        "for name, fn in {'1': ask, '2': ask, '3': other}.items(): open(name, 'wb').write(cloudpickle.dumps(fn))\n"
    )
    (tmp_path / "sender.py").write_text(source, encoding="utf-8")
    run_python("sender.py", folder=tmp_path)
    receiver = (
        "import pickle, gc\n"
        "first = pickle.load(open('1', 'rb'))\n"
        "first('a'), first('a')\n"
        "print(first.stats().hits, first.cache.storage.max_entries, len(first.cache.storage))\n"
        "del first; gc.collect()\n"
        "again, other = pickle.load(open('2', 'rb')), pickle.load(open('3', 'rb'))\n"
        "again('a')\n"
        "print(again.stats().hits, again.cache.storage is other.cache.storage)\n"
    )
    assert run_python("-c", receiver, folder=tmp_path).split() == ["1", "7", "1", "2", "True"]


def test_a_name_that_the_receiver_does_not_know_keeps_no_call_from_being_made(tmp_path: Path) -> None:
    """A storage's name is the receiver's own; until it is registered there, calls go on without the cache."""
    source = (
        "import cloudpickle, recallm\n"
        "recallm.register_storage('answers', recallm.InMemoryStorage)\n"
        "@recallm.semantic_cache(context={}, threshold='exact', storage='answers')\n"
        "def ask(q): return q\n"
        "open('sent', 'wb').write(cloudpickle.dumps(ask))\n"
    )
    (tmp_path / "sender.py").write_text(source, encoding="utf-8")
    run_python("sender.py", folder=tmp_path)
    receiver = (
        "import pickle, recallm\n"
        "ask = pickle.load(open('sent', 'rb'))\n"
        "print(ask('a'), ask('a'), dict(ask.stats().bypasses))\n"
        "recallm.register_storage('answers', recallm.InMemoryStorage)\n"
        "print(ask('a'), ask('a'), ask.stats().hits)\n"
    )
    assert run_python("-c", receiver, folder=tmp_path).splitlines() == ["a a {'storage': 2}", "a a 1"]


@semantic_cache(context={}, threshold="exact", storage=InMemoryStorage())
def module_level(question: str) -> str:
    """Return the question."""
    return question


class Agent:
    """Has cached methods, and is empty."""

    def __len__(self) -> int:
        """Return nothing."""
        return 0

    @semantic_cache(context={}, threshold="exact", storage=InMemoryStorage())
    def method(self, question: str) -> str:
        """Return the question."""
        return question

    @semantic_cache(context={}, threshold="exact", storage=InMemoryStorage())
    @staticmethod
    def static(question: str) -> str:
        """Return the question."""
        return question


@dataclass
class Holder:
    """Holds a function."""

    ask: Any


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
def test_what_can_be_imported_is_sent_by_its_name(dumps: Any) -> None:
    """A function, a method and an object that holds one are the receiver's own, as undecorated ones are."""
    assert pickle.loads(dumps(module_level)) is module_level  # noqa: S301  # ours
    assert pickle.loads(dumps(Holder(module_level))).ask is module_level  # noqa: S301  # ours
    assert b"ThreadSafe" not in dumps(module_level)
    for method in (Agent.method, Agent.static, Agent().method):
        twin = pickle.loads(dumps(method))  # noqa: S301  # ours
        assert twin.cache is method.cache
        assert type(getattr(twin, "__self__", None)) is type(getattr(method, "__self__", None))
    assert copy.deepcopy(Agent.static) == Agent.static


def local(**options: Any) -> Any:
    """Return a function that has no name by which it could be imported."""

    @semantic_cache(**{"context": {}, "threshold": "exact", "storage": InMemoryStorage(), **options})
    def ask(question: str) -> str:
        return question

    return ask


def test_what_comes_back_belongs_to_the_same_cache() -> None:
    """A function that returns to its process shares its entries and statistics, as a copy would."""
    ask = local()
    ask("a")
    twin = cloudpickle.loads(cloudpickle.dumps(ask))
    assert twin.cache is ask.cache
    assert twin("a") == "a"
    assert ask.stats().hits == 1


def test_a_function_passes_for_what_it_wraps_all_the_same() -> None:
    """Only who decides how to send it is told that it is no function."""
    assert isinstance(module_level, FunctionType)
    assert inspect.isfunction(module_level)
    assert inspect.isfunction(local())
    assert module_level.__class__ is FunctionType


def test_a_function_that_names_itself_can_be_sent() -> None:
    """Functions that call themselves, or each other, are sent together."""

    @semantic_cache(context={}, threshold="exact", storage=InMemoryStorage())
    def even(question: str) -> str:
        return odd(question[1:]) if question else "even"

    @semantic_cache(context={}, threshold="exact", storage=InMemoryStorage())
    def odd(question: str) -> str:
        return even(question[1:]) if question else "odd"

    twin = cloudpickle.loads(cloudpickle.dumps(even))
    assert (twin("xx"), twin("xxx")) == ("even", "odd")


def test_an_async_function_made_of_a_sync_one_is_sent_as_such() -> None:
    """The mode is among the options that are sent."""
    twin = cloudpickle.loads(cloudpickle.dumps(local(mode="async")))
    assert asyncio.run(twin("a")) == "a"


def test_a_storage_that_cannot_be_sent_is_named() -> None:
    """A storage with a lock is refused with what to do, when the function is sent."""

    class Locked(FolderStorage):
        def __init__(self) -> None:
            self.lock = threading.Lock()

    with pytest.raises(pickle.PicklingError, match=r"cannot send the storage of .*ask'; give it by its URL, .*lock"):
        cloudpickle.dumps(local(storage=Locked()))

    class Busy(FakeEmbedder):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

    with pytest.raises(pickle.PicklingError, match=r"cannot send the embedder of .*ask'; .*__reduce__"):
        cloudpickle.dumps(local(embedder=Busy()))


def test_a_method_that_nothing_names_is_sent_by_cloudpickle_only() -> None:
    """A method of a class that only its function knows cannot be found by name, which is how pickle sends it."""

    class Local:
        @semantic_cache(context={}, threshold="exact", storage=InMemoryStorage())
        def method(self, question: str) -> str:
            return question

    with pytest.raises((pickle.PicklingError, AttributeError), match="local"):
        pickle.dumps(Local.method)
    for method in (Local.method, Local().method):
        twin = cloudpickle.loads(cloudpickle.dumps(method))
        assert twin.cache is method.cache
    assert cloudpickle.loads(cloudpickle.dumps(Local.method))(Local(), "a") == "a"


def test_a_model_is_not_sent() -> None:
    """An embedder that has loaded its model is sent without it, and works there as one that has yet to load."""
    embedder = FastEmbedEmbedder("some/model", threads=2)
    embedder._model = lambda: None  # type: ignore[assignment]  # what cannot be sent
    for twin in (pickle.loads(pickle.dumps(embedder)), copy.copy(embedder), copy.deepcopy(embedder)):  # noqa: S301
        assert repr(twin) == "<FastEmbedEmbedder 'some/model', not loaded>"
        assert twin._threads == 2
        with twin._load_lock:
            pass


def test_an_embedder_arrives_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches that share an embedder share it in the receiver too, so that a model is loaded once."""

    class Empty(FakeEmbedder):
        def __len__(self) -> int:
            return 0

    embedder = Empty()
    sent = [cloudpickle.dumps(local(threshold="strict", embedder=embedder, name=name)) for name in "abb"]
    del embedder
    gc.collect()
    monkeypatch.setattr(sending, "_known", type(sending._known)())
    first, second, third = map(cloudpickle.loads, sent)
    assert first.cache.embedder is second.cache.embedder is third.cache.embedder
    assert first.cache is not second.cache


def test_only_so_many_received_caches_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process to which ever new functions are sent does not keep them all."""
    monkeypatch.setattr(sending, "_received", type(sending._received)())
    for _ in range(sending.MAX_RECEIVED):
        cloudpickle.loads(cloudpickle.dumps(local(embedder=FakeEmbedder())))
    assert len(sending._received) <= sending.MAX_RECEIVED


def test_a_cache_can_be_sent_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `SemanticCache` that pickle sends is the same cache here, and one of its settings elsewhere."""
    cache = SemanticCache(ThreadSafeInMemoryStorage(), CacheConfig(threshold="exact", default_ttl=60), name="mine")
    sent = pickle.dumps(cache)
    assert pickle.loads(sent) is cache  # noqa: S301  # ours
    config = cache.config
    del cache
    gc.collect()
    monkeypatch.setattr(sending, "_received", type(sending._received)())
    twin = pickle.loads(sent)  # noqa: S301  # ours
    assert (twin.name, twin.config, twin.guards) == ("mine", config, recallm.DEFAULT_GUARDS)
