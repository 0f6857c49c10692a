"""``guide``: the pages that come with the package."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from commands.conftest import Ran
from support.guide import README, TEXTS

from recallm.guide import PAGES

Run = Callable[..., Ran]


def test_lists_the_pages(run: Run) -> None:
    """Without a page every page is named, with what it is about."""
    ran = run("guide")
    assert ran.code == 0
    assert [line.split()[0] for line in ran.out.splitlines()[-len(PAGES) :]] == list(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_prints_a_page(page: str, run: Run) -> None:
    """A page is printed as it is, and the README links to it."""
    ran = run("guide", page)
    assert (ran.code, ran.out) == (0, TEXTS[page])
    assert f"(recallm/guide/{page}.md)" in README


def test_an_unknown_page_is_refused(run: Run) -> None:
    """The message names the pages that there are."""
    with pytest.raises(SystemExit):
        run("guide", "nothing")
