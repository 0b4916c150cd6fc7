"""Vowpal Wabbit, which reads its own text format once and then its binary cache."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmarks.peers.peer import Fit, counts, missing, row
from benchmarks.problems import Array, Problem

BITS = 24  # 2^24 weights
CONSTANT = 11650396  # the index of its intercept among 2^24


@dataclass(frozen=True)
class VowpalWabbit:
    """Vowpal Wabbit's default algorithm with logistic loss; a budget is its --passes."""

    name: str = "vw"
    note: str = (
        "its default algorithm, from its cache, made beforehand; without --l2, under which this F rises with every "
        "pass (a9a: by 1% after one, by 6% after twenty)"
    )
    budgets: tuple[float, ...] = counts(last=100)
    precisions: tuple[str, ...] = ("float32",)

    def cannot(self, problem: Problem) -> str | None:
        """Refuses more than two classes, and dense tables, which would have to be written as text."""
        if problem.n_classes > 2:
            return "one class against the rest, no softmax"
        return missing("vowpalwabbit") if problem.sparse else "rows of its own text format: for sparse tables here"

    def fit(self, problem: Problem, budget: float | None) -> Fit:
        """Run over the cache; only the passes are timed."""
        from vowpalwabbit import Workspace

        rows, passes = _cached(problem.name, problem), 1 if budget is None else int(budget)
        files = f"-d {rows} --cache_file {rows}.cache --readable_model {rows}.model"
        constant = "" if problem.intercept else "--noconstant"
        began = time.perf_counter()
        workspace = Workspace(
            f"--loss_function logistic --passes {passes} -b {BITS} --holdout_off --quiet {constant} {files}"
        )
        seconds = time.perf_counter() - began
        workspace.finish()
        weights = _weights(Path(f"{rows}.model"))
        return Fit(*row(weights[: problem.X.shape[1]], weights[CONSTANT]), f"{passes} passes", False, seconds=seconds)


def _weights(model: Path) -> Array:
    """The weights of a model in text form, whose lines are an index, a colon, the weight and its adaptive state."""
    weights = np.zeros(1 << BITS)
    for line in model.read_text().splitlines():
        place, colon, weight = line.partition(":")
        if colon and place.isdigit():
            weights[int(place)] = float(weight.split()[0])
    return weights


class _Folder:
    """A temporary folder for the rows of one problem."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="vw-")
        self.rows = Path(self.folder.name) / "rows.txt"


@lru_cache(maxsize=1)
def _folder(name: str, shape: tuple[int, int]) -> _Folder:
    return _Folder()


def _cached(name: str, problem: Problem) -> Path:
    """The path of the problem's rows as text; the file and its cache are written on first use."""
    from vowpalwabbit import Workspace

    rows = _folder(name, problem.X.shape).rows
    if not rows.exists():
        with rows.open("w") as file:
            for i, y in enumerate(problem.y):
                part = slice(*problem.X.indptr[i : i + 2])
                pairs = zip(problem.X.indices[part].tolist(), problem.X.data[part].tolist(), strict=True)
                file.write(f"{2 * y - 1} | {' '.join(f'{j}:{x:.8g}' for j, x in pairs)}\n")
        Workspace(f"-d {rows} --cache_file {rows}.cache -k -b {BITS} --quiet").finish()
    return rows
