"""The README and the pages of the guide, as text."""

from __future__ import annotations

import re
from pathlib import Path

from recallm.guide import PAGES, page

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = {"README": README} | {name: page(name) for name in PAGES}


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language in a text."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
