"""``guide``: the pages of the guide, which come with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recallm.commands.output import print_table
from recallm.guide import PAGES, page

if TYPE_CHECKING:
    import argparse


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("guide", help="read the guide: a page, or the list of them")
    parser.add_argument("page", metavar="PAGE", nargs="?", choices=PAGES, help=", ".join(PAGES))


def run(options: argparse.Namespace) -> int:
    """Print a page, or the list of all."""
    if options.page is None:
        print_table(("page", "about"), [(name, page(name).splitlines()[2].strip("*")) for name in PAGES])
    else:
        print(page(options.page), end="")
    return 0
