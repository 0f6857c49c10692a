"""The guide beyond the README: Markdown pages that come with the package, for the command ``guide`` and for browsers.

Their Python blocks run as tests, as the README's do. The README leads to them; what is said of one function or option
alone belongs into its own docstring.

To add a page, write it beside the others, name it in `PAGES`, and link to it from the README.
"""

from __future__ import annotations

from importlib.resources import files

PAGES = (
    "calls",
    "conversations",
    "responses",
    "embedders",
    "guards",
    "storages",
    "redis",
    "production",
    "failing",
    "names",
)
"""The pages, in the order in which they are best read."""


def page(name: str) -> str:
    """Return the text of one of `PAGES`."""
    return files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8")
