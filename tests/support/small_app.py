"""A program with cached functions, as the command line is pointed at: ``support.small_app:answer``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recallm import InMemoryStorage, semantic_cache
from recallm.testing import Clock, FakeEmbedder

if TYPE_CHECKING:
    from recallm.typing import Vector

clock = Clock()
storage = InMemoryStorage(clock=clock)
embedder = FakeEmbedder(dim=32)


class OtherModel(FakeEmbedder):
    """Another model, whose vectors are as long."""

    model_id = "tests/other"

    def embed(self, text: str, /) -> Vector:
        """Return another vector than `FakeEmbedder` does."""
        return super().embed(text)[::-1]


other_embedder = OtherModel(dim=32)


@dataclass
class Answer:
    """What `typed` returns."""

    text: str
    pages: tuple[int, ...] = ()


@semantic_cache(context=lambda kw: {"user": kw["user"]}, storage=storage, embedder=embedder, guards=())
def answer(question: str, *, user: str = "ada") -> str:
    """Answer a question of a user."""
    return f"{question} of {user}: yes"


@semantic_cache(context={}, storage=storage, embedder=embedder, guards=(), ttl=100.0)
def typed(question: str) -> Answer:
    """Answer by an object, for a while."""
    return Answer(question, (1, 2))


@semantic_cache(context={}, storage=storage, embedder=other_embedder, guards=(), version="1", namespace="same")
def with_other_model(question: str) -> str:
    """Answer as `with_model` does."""
    return "new"


@semantic_cache(context={}, storage=storage, embedder=embedder, guards=(), version="1", namespace="same")
def with_model(question: str) -> str:
    """Answer as `with_other_model` does."""
    return "old"


@semantic_cache(context={}, storage=storage, embedder=embedder, guards=())
async def chat(messages: list[dict[str, str]]) -> str:
    """Answer the last of some messages."""
    return "asked"


@semantic_cache(context={}, storage=storage, prompt=lambda kw: kw["words"][0], threshold="exact")
def exact(words: list[str]) -> str:
    """Answer the first of some words."""
    return "asked"


@semantic_cache(context={}, storage=storage, embedder=embedder, guards=(), history="similar")
def similar(messages: list[dict[str, str]]) -> str:
    """Answer a conversation whose earlier turns may be similar."""
    return "asked"


@semantic_cache(context={}, storage=storage, threshold="exact")
def translate(text: str) -> str:
    """Translate a text."""
    return text.upper()


class Assistant:
    """Answers in a tone."""

    def __init__(self, tone: str) -> None:
        self.tone = tone

    @semantic_cache(context={}, storage=storage, embedder=embedder, guards=())
    def ask(self, question: str) -> str:
        """Answer a question."""
        return f"{self.tone}: {question}"


kind, stern = Assistant("kind"), Assistant("stern")


def plain(text: str) -> str:
    """Do nothing that is cached."""
    return text.upper()


def made(row: object) -> Answer:
    """Make an answer of JSON."""
    assert isinstance(row, dict)
    return Answer(**{**row, "pages": tuple(row.get("pages", ()))})
