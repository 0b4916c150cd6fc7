"""Imports go strictly down DESIGN's ladder of rooms, wherever in a file they stand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from places import ROOT

SOURCE = ROOT / "src" / "torchlogit"

LADDER = [
    ["__main__"],
    ["cli"],
    ["estimator", "nn", "report", "export", "tutorial"],
    ["training"],
    ["path"],
    ["fit", "streaming"],
    ["checkpoints"],
    ["fingerprint"],
    ["solvers"],
    ["certificate", "separation", "inference", "summary"],
    ["quadratic", "metrics", "model"],
    ["objective", "prediction"],
    ["losses", "penalties", "design", "data", "distributed"],
    ["kernels"],
    ["records", "storage", "atomic"],
    ["errors", "pictures"],
]
STEP = {room: step for step, rooms in enumerate(LADDER) for room in rooms}
FACE = "torchlogit"  # __init__.py: the public names, above every room; no room may import it


def room_of(path: Path) -> str:
    """The room that a file of the package belongs to: its own name, or its folder's."""
    first = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    return FACE if first == "__init__" else first


def imported_rooms(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """(line, room) of every import of torchlogit: in functions and under TYPE_CHECKING too, relative ones included.

    `package`: the dotted name of the package that the file is in.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            names = [f"{module}.{alias.name}" for alias in node.names] if module == FACE else [module]
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            names = [str(a.value) for a in node.args[:1] if isinstance(a, ast.Constant)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == FACE:
                yield node.lineno, parts[1] if len(parts) > 1 else FACE


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def faults(source: str, room: str, package: str = FACE) -> list[str]:
    """What is wrong with the imports of a file in this room."""
    wrong = []
    for line, other in imported_rooms(ast.parse(source), package):
        if room == FACE or other == room:
            continue
        if other == "__version__":
            continue
        if other not in STEP:
            wrong.append(f"line {line}: {room} imports {other}, which is no room of the ladder")
        elif STEP[other] <= STEP[room]:
            wrong.append(f"line {line}: {room} imports {other}, which is not below it")
    return wrong


def files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down_the_ladder(path: Path) -> None:
    package = ".".join([FACE, *path.relative_to(SOURCE).parts[:-1]])
    assert faults(path.read_text(encoding="utf-8"), room_of(path), package) == []


def test_every_room_is_on_the_ladder() -> None:
    rooms = {room_of(path) for path in files()} - {FACE}
    assert rooms <= STEP.keys(), f"not on the ladder: {sorted(rooms - STEP.keys())}"


def test_no_room_is_on_the_ladder_twice() -> None:
    assert len(STEP) == sum(len(rooms) for rooms in LADDER)


@pytest.mark.parametrize(
    "source",
    [
        "from torchlogit.fit import fit",
        "import torchlogit.fit",
        "import torchlogit.fit as f",
        "from torchlogit import fit",
        "from . import fit",
        "from .fit import fit",
        "def f():\n    from torchlogit.fit import fit",
        "if TYPE_CHECKING:\n    from torchlogit.fit import fit",
        "import importlib\nimportlib.import_module('torchlogit.fit')",
        "from torchlogit.certificate import Bound",
        "from torchlogit.separation import find_separation",
        "import torchlogit",
        "from torchlogit import LogisticRegression",
        "from torchlogit.nowhere import nothing",
    ],
)
def test_a_wrong_import_is_caught(source: str) -> None:
    """In inference, say: upwards, sideways, to the public face, or to no room at all."""
    assert len(faults(source, "inference")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from torchlogit.objective import Objective",
        "from torchlogit.records import Params",
        "from torchlogit import errors",
        "from .errors import InputError",
        "import torch",
        "from torchlogit.inference import something",
    ],
)
def test_a_right_import_is_not(source: str) -> None:
    assert faults(source, "inference") == []


def test_files_of_a_room_may_import_each_other() -> None:
    assert faults("from torchlogit.solvers.newton.line_search import search", "solvers", "torchlogit.solvers") == []
    assert faults("from .line_search import search", "solvers", "torchlogit.solvers") == []
    assert faults("from ..fit import fit", "solvers", "torchlogit.solvers") != []
