"""What cannot be stored, and where in an answer it lies."""

from __future__ import annotations

from recallm.errors import UnstorableResponseError

MAX_TRAIL = 12
"""How many steps of the way to a value are shown."""

_SHOWN_KEY = 40


class Refusal(Exception):  # noqa: N818  # it ends as an error of another class
    """A value cannot be stored; it does not quote the value.

    Args:
        cls: the type of the value.
        why: what is wrong with it; empty: its type.
    """

    def __init__(self, cls: type, why: str = "") -> None:
        super().__init__()
        self._what = f"{cls.__module__}.{cls.__qualname__}" + (f", {why}" if why else "")
        self._trail: list[str] = []

    def within(self, step: str) -> Refusal:
        """Say in which item or attribute of another value it lies, from the inside to the outside."""
        self._trail.append(step)
        return self

    def error(self) -> UnstorableResponseError:
        """Return the error that names the value."""
        steps = self._trail[::-1]
        if len(steps) > MAX_TRAIL:
            steps = [*steps[: MAX_TRAIL // 2], "...", *steps[-MAX_TRAIL // 2 :]]
        return UnstorableResponseError(
            f"answer{''.join(steps)} ({self._what}) cannot be stored; texts, bytes, numbers, dates, URLs, paths, "
            "arrays, enums, lists, tuples, dicts, sets, named tuples, dataclasses, and models of pydantic, attrs and "
            "msgspec of these can; return one of those, or leave such responses out with store_if="
        )


def key_step(key: object) -> str:
    """Return how the value of a key is shown; a key that may be anybody's words is not."""
    if type(key) is str and len(key) <= _SHOWN_KEY and key.isascii() and key.isidentifier():
        return f"[{key!r}]"
    return "[...]"
