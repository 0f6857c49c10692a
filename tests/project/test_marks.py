"""Tests bear the marks by which lanes leave them out."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from support.marks import IMPLIED_MARKS

pytestmark = [pytest.mark.once, pytest.mark.untraced]

TESTS = Path(__file__).parents[1]


def decorators(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Return the names of what a function is decorated with, calls without their arguments."""
    return {ast.unparse(each.func if isinstance(each, ast.Call) else each) for each in function.decorator_list}


def starters(source: str) -> dict[str, set[str]]:
    """Return the functions in a module of tests that start a Redis server, with their decorators."""
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return {
        each.name: decorators(each)
        for each in functions
        for call in ast.walk(each)
        if isinstance(call, ast.Call) and ast.unparse(call.func) in {"running", "Server"}
    }


@pytest.mark.parametrize(
    "path", [*TESTS.rglob("test_*.py"), *TESTS.rglob("conftest.py")], ids=lambda path: str(path.relative_to(TESTS))
)
def test_what_starts_a_redis_server_is_marked(path: Path) -> None:
    """Whoever starts a server is a test marked ``redis``, or a fixture that marks what uses it."""
    marked = {name for name, mark in IMPLIED_MARKS.items() if mark == "redis"}
    for name, decorated in starters(path.read_text(encoding="utf-8")).items():
        assert "pytest.mark.redis" in decorated or ("pytest.fixture" in decorated and name in marked), name
