"""Which model a command embeds with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recallm import checks
from recallm.commands.opening import named_object

if TYPE_CHECKING:
    import argparse

    from recallm.typing import EmbedderLike, Profile


def add_embedder(parser: argparse.ArgumentParser) -> None:
    """Declare ``--embedder``."""
    parser.add_argument(
        "--embedder",
        metavar="NAME",
        help='"offline", "offline-multilingual", a FastEmbed model, or module:attribute; else the default',
    )


def named(name: str | None) -> EmbedderLike | None:
    """Return the embedder of this name, or None for the default.

    Raises:
        RecallmError: the extra that it needs is not installed, or the object of this name is no embedder.
    """
    if name is None:
        return None
    if ":" in name:
        return checks.embedder(named_object(name, "an embedder"))
    from recallm.embedders.chosen import named_embedder

    return named_embedder(name)


def threshold(text: str, option: str) -> Profile | float:
    """Return a threshold that was given as a word or a number.

    Raises:
        InvalidValueError: it is neither a profile nor a cosine.
    """
    try:
        number: float | str = float(text)
    except ValueError:
        number = text
    return checks.profile_or_cosine(number, option)
