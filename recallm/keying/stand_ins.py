"""Stand-ins: what takes the place of a prompt, or of something that does not count, where a value is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple


class PromptPlaceholder(NamedTuple):
    """Stands where the prompt was taken out.

    Attributes:
        lines: how many lines of the prompt came from here, if more than one text makes it up.
    """

    lines: int = 0


PROMPT_PLACEHOLDER = PromptPlaceholder()


class Ignored(NamedTuple):
    """Stands where something is that does not count."""


IGNORED = Ignored()


class Rewritten(NamedTuple):
    """Messages of which a text that stands alone was made.

    Attributes:
        left: what they hold besides the texts of users and assistants, in order; the last turn has a place among it.
    """

    left: tuple[Any, ...]


class Replaced(NamedTuple):
    """A value in which others stand for some of what it holds.

    Attributes:
        value: the value.
        changes: what stands in it, by key, index or name of an attribute; under the key None, for the value itself,
            which is a str: its type and attributes still count.
    """

    value: Any
    changes: Mapping[Any, Any]


class Filled(NamedTuple):
    """A `defaultdict` without the empty containers that reading it leaves there.

    Attributes:
        value: the `defaultdict`.
    """

    value: defaultdict[Any, Any]
