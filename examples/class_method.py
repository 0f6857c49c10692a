# pip install -e ".[offline]" && python examples/class_method.py
"""A method behind a semantic cache: what decides the answer counts, what does not is ignored."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

import recallm
from recallm import semantic_cache


@dataclass
class Assistant:
    """Answers with a model, in a tone."""

    model: str
    tone: str
    log: sqlite3.Connection

    # model and tone are values of self, and must be equal; the log does not affect the answer.
    @semantic_cache(context=lambda kw: {"user_id": kw["user_id"]}, ignore=("self.log",))
    def ask(self, question: str, *, user_id: str) -> str:
        """Answer a user. Put the call of your own model here; this one takes 0.3 s."""
        self.log.execute("INSERT INTO asked VALUES (?)", (question,))
        time.sleep(0.3)
        return f"({self.model} answers {user_id} in a {self.tone} tone: {question})"


def main() -> None:
    """Ask two assistants."""
    log = sqlite3.connect(":memory:")
    log.execute("CREATE TABLE asked (question)")
    kind, stern = Assistant("small", "kind", log), Assistant("small", "stern", log)

    print(kind.ask("How do I reset my password?", user_id="ada"))
    print(kind.ask("How can I reset my password?", user_id="ada"))  # from the cache
    print(stern.ask("How can I reset my password?", user_id="ada"))  # another tone: calls the method
    why = stern.ask.explain("How can I reset my password?", user_id="bob")
    print(why.outcome, why.differs)

    kind.tone = "curt"  # what is set on the object is noticed
    print(kind.ask("How can I reset my password?", user_id="ada"))
    print(recallm.stats())


if __name__ == "__main__":
    main()
