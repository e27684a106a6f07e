"""The house: folders that show the way of the data, imports that point one way, small rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import bgformer

SOURCE = Path(bgformer.__file__).parent
FLOORS = (
    ("arguments", "messages", "_version", "runtime"),
    ("data",),
    ("network",),
    ("fit",),
    ("graph",),
    ("pipeline",),
    ("store",),
    ("model",),
    ("tl",),
    ("pl",),
    ("page",),
    ("cli", "r", "__init__", "__main__"),
)
"""From the ground up; a module imports from its own floor and from those below it."""
LONGEST_MODULE, LONGEST_FUNCTION = 350, 60
MODULES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))


def floor_of(top: str) -> int:
    return next(number for number, names in enumerate(FLOORS) if top in names)


def imported(tree: ast.Module) -> set[str]:
    """Return the modules of this package that a module imports, as paths below bgformer."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "bgformer":
            below = node.module.split(".")[1:]
            found |= {".".join([*below, name.name]) for name in node.names}
    return found


def code_lines(function: ast.AST) -> int:
    """Return the lines of a function without its docstring."""
    documented = ast.get_docstring(function, clean=False)
    return function.end_lineno - function.lineno + 1 - len((documented or "").splitlines())


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_point_one_way(path):
    own = floor_of(path.parts[0].removesuffix(".py"))
    for name in imported(ast.parse((SOURCE / path).read_text("utf-8"))):
        assert floor_of(name.split(".")[0]) <= own, f"{path} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_modules_and_functions_are_short(path):
    text = (SOURCE / path).read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST_MODULE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert code_lines(node) <= LONGEST_FUNCTION, f"{path}: {node.name}"


def test_no_two_modules_import_each_other():
    graph = {}
    names = {".".join(path.with_suffix("").parts) for path in MODULES}
    for path in MODULES:
        tree = ast.parse((SOURCE / path).read_text("utf-8"))
        tree.body = [node for node in tree.body if not isinstance(node, ast.If)]  # types alone
        targets = imported(tree)
        found = {name if name in names else name.rpartition(".")[0] for name in targets}
        graph[".".join(path.with_suffix("").parts)] = found & names
    done: set[str] = set()
    while len(done) < len(graph):
        ready = {name for name, needs in graph.items() if name not in done and needs <= done}
        assert ready, f"a circle among {sorted(set(graph) - done)}"
        done |= ready


def test_the_network_needs_no_tables_and_no_files():
    script = (
        "import sys, bgformer.network.network, bgformer.network.anchor_weights\n"
        "print(*sorted({'anndata', 'h5py', 'pandas', 'scanpy'} & set(sys.modules)))"
    )
    path = str(SOURCE.parent)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {path!r})\n{script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""
