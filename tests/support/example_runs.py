"""Runs the examples, and the README's first one, each in a process of its own; SDKs ask a server of this program.

Run with ``python tests/support/example_runs.py``, where the dependency group ``sdk`` is installed. It fails if an
example does not call the model, and does not find in the cache, as often as it says. `tests/project/test_examples.py`
asserts the same of those whose SDK is installed.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.fake_vendors import serving
from support.guide import README, blocks

FOLDER = Path(__file__).parents[2] / "examples"
SECONDS = 170

QUIET = {
    "DO_NOT_TRACK": "1",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "NO_PROXY": "*",
    "OTEL_SDK_DISABLED": "true",
}
"""Environment variables under which the SDKs speak with nobody but the server that they are given."""


class Example(NamedTuple):
    """An example, and what comes of it.

    Attributes:
        file: its name, or its path if it is elsewhere.
        hits: how many calls are answered from the cache.
        misses: how many call the model.
        package: the module of the SDK that it needs; None: it needs none.
    """

    file: str
    hits: int
    misses: int
    package: str | None = None


EXAMPLES = (
    Example("openai_chat.py", 4, 6, "openai"),
    Example("anthropic_chat.py", 2, 4, "anthropic"),
    Example("langchain_rag.py", 1, 2, "langchain_openai"),
    Example("litellm_router.py", 3, 3, "litellm"),
    Example("pydantic_ai_agent.py", 1, 2, "pydantic_ai"),
    Example("translate_exact.py", 1, 3, "openai"),
    Example("class_method.py", 1, 3),
)
"""The programs that print what came of their calls and end."""


def of_the_readme(folder: Path) -> Example:
    """Write the README's first program, which asks OpenAI, into a folder, and return it as an example."""
    program = folder / "readme.py"
    program.write_text(blocks(README, "python")[0], encoding="utf-8")
    return Example(str(program), 1, 1, "openai")


class Run(NamedTuple):
    """What a run of an example did.

    Attributes:
        hits: how many hits it counted; None: it printed none.
        misses: how many misses it counted.
        asked: how often it asked the server.
        printed: all that it printed, errors included.
        code: its exit code.
    """

    hits: int | None
    misses: int | None
    asked: int
    printed: str
    code: int

    def is_as_wanted(self, example: Example) -> bool:
        """Return whether it called the model, and found answers, as often as it should."""
        asked = 0 if example.package is None else example.misses
        return (self.code, self.hits, self.misses, self.asked) == (0, example.hits, example.misses, asked)


def is_installed(package: str | None) -> bool:
    """Return whether an example's SDK is there, without importing it."""
    return package is None or find_spec(package) is not None


def run(example: Example, environment: Mapping[str, str] = os.environ) -> Run:
    """Run an example."""
    with serving() as vendors:
        given = {
            **environment, **QUIET, "OPENAI_API_KEY": "key", "OPENAI_BASE_URL": f"{vendors.url}/v1",
            "ANTHROPIC_API_KEY": "key", "ANTHROPIC_BASE_URL": vendors.url, "OPENAI_API_BASE": f"{vendors.url}/v1",
        }  # fmt: skip
        ended = subprocess.run(
            [sys.executable, "-W", "ignore", str(FOLDER / example.file)],
            env=given, capture_output=True, text=True, timeout=SECONDS,
        )  # fmt: skip
        printed = ended.stdout + ended.stderr
        return Run(_count(printed, "hits"), _count(printed, "misses"), vendors.calls, printed, ended.returncode)


def cells(notebook: Path) -> Iterator[tuple[ast.Module, ast.Expression | None]]:
    """Yield the code of a notebook's cells, without lines for IPython; the value of a cell apart, if it has one."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            tree = ast.parse("".join(line for line in cell["source"] if not line.startswith("%")))
            last = tree.body[-1] if tree.body else None
            if isinstance(last, ast.Expr):
                yield ast.Module(tree.body[:-1], []), ast.Expression(last.value)
            else:
                yield tree, None


def _count(printed: str, what: str) -> int | None:
    found = re.search(rf"^\s+{what}\s+(\d+)", printed, re.MULTILINE)
    return None if found is None else int(found[1])


def main() -> int:
    """Run all examples whose SDKs are installed; return how many are not as wanted."""
    failed = 0
    with TemporaryDirectory() as folder:
        for example in (*EXAMPLES, of_the_readme(Path(folder))):
            failed += not _shown(example)
    print(f"{failed} examples are not as wanted")
    return failed


def _shown(example: Example) -> bool:
    """Run an example and print what came of it; return False if it is not as wanted."""
    name = Path(example.file).name
    if not is_installed(example.package):
        print(f"{name:<24}{example.package} is not installed")
        return True
    ran = run(example)
    fine = ran.is_as_wanted(example)
    print(f"{name:<24}{ran.hits} hits, {ran.misses} misses, {ran.asked} requests{'' if fine else ': WRONG'}")
    if not fine:
        print(ran.printed)
    return fine


if __name__ == "__main__":
    sys.exit(main())
