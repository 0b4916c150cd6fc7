"""Imports go strictly down the ladder of rooms, in every room that has one, and never in a circle.

An import counts wherever it stands in a file: in functions and under TYPE_CHECKING too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from places import ROOT

FACE = "torchlogit"  # __init__.py: the public names, above every room; no room may import it
SOURCE = ROOT / "src" / FACE

# Top to bottom, the files and folders in a room: each may import what stands on a lower line of its room's ladder.
# "__init__" is the room's own __init__.py. A room without a ladder here asks for no order, but for no circles either.
LADDERS = {
    "torchlogit": [
        ["__main__"],
        ["cli", "estimator"],
        ["nn", "tutorial"],
        ["training"],
        ["path"],
        ["fit", "streaming"],
        ["checkpoints"],
        ["fingerprint"],
        ["solvers"],
        ["certificate", "separation", "pure_columns", "inference", "summary"],
        ["balancing"],
        ["collinear", "quadratic", "metrics", "model"],
        ["objective", "prediction"],
        ["losses", "penalties", "design", "data"],
        ["kernels", "conditioning", "exact"],
        ["records", "storage", "atomic"],
        ["errors", "pictures"],
    ],
    "torchlogit.data": [
        ["cache"],
        ["preparation"],
        ["learn_table", "loading", "encoded_rows"],
        ["encoding", "reading"],
        ["labels", "targets", "weights", "plan"],
        ["block", "columns", "concurrency", "sparse_vectors"],
        ["wording"],
        ["__init__"],
    ],
    "torchlogit.solvers": [
        ["choice"],
        ["newton", "dual", "stochastic"],
        ["requirements"],
        ["__init__"],
    ],
}
STEPS = {room: {name: step for step, names in enumerate(ladder) for name in names} for room, ladder in LADDERS.items()}


def module_of(path: Path) -> str:
    """The dotted name of a file's module, that of an __init__.py being its folder's."""
    return ".".join([FACE, *path.relative_to(SOURCE).with_suffix("").parts]).removesuffix(".__init__")


FILES = {module_of(path): path for path in sorted(SOURCE.rglob("*.py"))}


def imports(source: str, module: str) -> Iterator[tuple[int, str]]:
    """(line, module) of every import of torchlogit in a module's source, relative ones included."""
    is_folder = module in FILES and FILES[module].name == "__init__.py"
    package = module.split(".") if is_folder else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, node.module] if node.module else base)
            names = [f"{origin}.{alias.name}" for alias in node.names]
            names = [name if name in FILES else origin for name in names if name != f"{FACE}.__version__"]
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            names = [str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant)]
        else:
            continue
        yield from ((node.lineno, name) for name in dict.fromkeys(names) if name.split(".")[0] == FACE)


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def parting(one: str, other: str) -> tuple[str, str, str]:
    """The smallest room that holds both modules, and the name in it of each or of the room it is in."""
    first, second = ([*name.split("."), "__init__"] for name in (one, other))
    depth = next(k for k, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    return ".".join(first[:depth]), first[depth], second[depth]


def faults(source: str, module: str) -> list[str]:
    """What is wrong with the imports of this module's source."""
    wrong = []
    for line, other in imports(source, module):
        if module == FACE or other == module:
            continue
        if other not in FILES:
            wrong.append(f"line {line}: {module} imports {other}, which is no module")
            continue
        room, ours, theirs = parting(module, other)
        steps = STEPS.get(room)
        if steps is not None and steps.get(theirs, -1) <= steps.get(ours, -1):
            wrong.append(f"line {line}: {module} imports {other}, and in {room} {theirs} is not below {ours}")
    return wrong


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other, directly or by way of others."""
    names = sorted(graph)
    edges = np.array([(names.index(one), names.index(other)) for one in names for other in graph[one]]).reshape(-1, 2)
    matrix = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(names), len(names)))
    count, group = connected_components(matrix.tocsr(), connection="strong")
    groups = [[name for name, own in zip(names, group, strict=True) if own == number] for number in range(count)]
    return [members for members in groups if len(members) > 1]


@pytest.mark.parametrize("module", FILES)
def test_imports_go_down_the_ladder(module: str) -> None:
    assert faults(FILES[module].read_text(encoding="utf-8"), module) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    found = {module: imports(path.read_text(encoding="utf-8"), module) for module, path in FILES.items()}
    assert circles({module: {name for _, name in those} - {module} for module, those in found.items()}) == []


@pytest.mark.parametrize("room", LADDERS)
def test_a_ladder_holds_all_that_is_in_its_room(room: str) -> None:
    depth = len(room.split("."))
    inside = {[*module.split("."), "__init__"][depth] for module in FILES if f"{module}.".startswith(f"{room}.")}
    if room == FACE:
        inside.remove("__init__")
    assert sorted(name for names in LADDERS[room] for name in names) == sorted(inside)


@pytest.mark.parametrize("room", [FACE, f"{FACE}.data"])
def test_the_ladder_is_shown_to_contributors(room: str) -> None:
    ladder = "\n".join("    " + "  ".join(names) for names in LADDERS[room])
    assert ladder in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), f"not shown:\n{ladder}"


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
    assert len(faults(source, "torchlogit.inference")) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("torchlogit.solvers.newton.step", "from torchlogit.solvers.dual.intercept import columns_rate"),
        ("torchlogit.solvers.newton.step", "from ..choice import automatic"),
        ("torchlogit.solvers", "from torchlogit.solvers.choice import automatic"),
        ("torchlogit.data.encoding.text", "from torchlogit.data.reading.source import open_source"),
        ("torchlogit.data.encoding.text", "from torchlogit.data import learn_table"),
        ("torchlogit.data.reading.reader", "from torchlogit.data.encoding import encoder"),
        ("torchlogit.data.wording", "from torchlogit.data.block import Block"),
    ],
)
def test_a_wrong_import_within_a_room_is_caught(module: str, source: str) -> None:
    assert len(faults(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("torchlogit.inference", "from torchlogit.objective import Objective"),
        ("torchlogit.inference", "from torchlogit.records import Params"),
        ("torchlogit.inference", "from torchlogit import errors"),
        ("torchlogit.inference", "from .errors import InputError"),
        ("torchlogit.inference", "import torch"),
        ("torchlogit.inference", "from torchlogit.inference import something"),
        ("torchlogit.cli.main", "from torchlogit import __version__"),
        ("torchlogit.solvers.choice", "from torchlogit.solvers.newton.step import step"),
        ("torchlogit.solvers.newton.step", "from torchlogit.solvers import Solver"),
        ("torchlogit.solvers.newton.step", "from .sampling import draw"),
        ("torchlogit.data.encoding.text", "from torchlogit.data.block import Block"),
    ],
)
def test_a_right_import_is_not(module: str, source: str) -> None:
    assert faults(source, module) == []


def test_a_circle_is_caught() -> None:
    graph = {"a": {"b", "e"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set[str]()}
    assert circles(graph) == [["a", "b", "c"]]
