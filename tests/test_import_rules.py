"""The rooms import each other as the house's plan says, and the light ones never load torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nas_edge

PACKAGE = Path(nas_edge.__file__).parent

# Files at the top that every room may use.
GROUND = {"units", "errors", "origin", "files", "differences", "progress", "resources"}

# "How it is built" in the README: room -> rooms that it may import.
MAY_IMPORT: dict[str, set[str]] = {
    "spaces": set(),
    "latency": {"spaces"},
    "memory": {"spaces"},
    "accuracy": {"spaces"},
    "search": {"latency", "memory", "accuracy", "spaces"},
    "data": set(),
    "supernet": {"spaces"},
    "spreading": set(),
    "training": {"supernet", "data", "spaces", "accuracy", "spreading"},
    "export": {"supernet", "data", "spaces"},
    "mcu": {"spaces", "memory"},
    "devices": set(),
    "runtimes": {"spaces", "mcu", "devices"},
    "profiling": {"runtimes", "devices"},
    "report": {"search", "profiling"},
}
MAY_IMPORT["pipeline"] = set(MAY_IMPORT)
MAY_IMPORT["cli"] = {"pipeline"}

# Never import torch, not even late: a search and the measuring of a table must start at once.
QUICK = ("spaces", "latency", "memory", "accuracy", "search")
TORCH_FREE = (*QUICK, "devices", "runtimes", "profiling", "spreading", "cli")
TORCH_ITSELF = ("torch_cuda.py", "torch_graph.py")  # the runtime that runs networks in torch: imported when asked for
# What a search from a bundle must not load at module level.
SLOW = {"torch", "onnx", "onnxruntime", "scipy", "pydantic", "PIL", "rich"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Dotted names of all that is imported, late imports and those for type checkers included, with lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value, node.lineno


def at_module_level(tree: ast.Module) -> Iterator[str]:
    """Top-level packages imported when the module is."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name, _ in imported(node):
                yield name.split(".")[0]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_the_rooms_it_may(path: Path) -> None:
    room = room_of(path)
    if room in GROUND | {"__init__"}:
        allowed = GROUND
    else:
        assert room in MAY_IMPORT, f"the room {room!r} is not in the plan"
        allowed = GROUND | MAY_IMPORT[room] | {room}
    if path.name == "__main__.py":  # `python -m nas_edge.training` is a command, like those of the CLI
        allowed |= MAY_IMPORT["cli"]
    wrong = [
        f"line {line}: {name}"
        for name, line in imported(ast.parse(path.read_text(encoding="utf-8")))
        if name.startswith("nas_edge.") and name.split(".")[1] not in allowed | {"__version__"}
    ]
    assert not wrong


@pytest.mark.parametrize("room", TORCH_FREE)
def test_light_rooms_never_import_torch_not_even_late(room: str) -> None:
    found = [
        f"{path.name}:{line}"
        for path in sorted((PACKAGE / room).rglob("*.py"))
        if path.name not in TORCH_ITSELF
        for name, line in imported(ast.parse(path.read_text(encoding="utf-8")))
        if name.split(".")[0] == "torch"
    ]
    assert not found


@pytest.mark.parametrize("room", QUICK)
def test_rooms_of_a_search_load_nothing_slow_at_module_level(room: str) -> None:
    found = {
        f"{path.name}: {name}"
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for name in at_module_level(ast.parse(path.read_text(encoding="utf-8")))
        if name in SLOW
    }
    assert not found


def test_the_help_of_every_command_loads_nothing_slow() -> None:
    script = (
        "import sys\nfrom nas_edge.cli.main import invoke\n"
        "assert invoke(['--help']) == 0 and invoke(['search', '--help']) == 0\n"
        "found = [n for n in ('numpy', 'torch', 'rich', 'yaml', 'onnx') if n in sys.modules]\n"
        "sys.exit(', '.join(found) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    long = {str(p.relative_to(PACKAGE)): n for p in modules() if (n := len(p.read_text().splitlines())) > 450}
    assert not long
