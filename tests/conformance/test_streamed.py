"""Rows that are read anew for every pass, and vectors on disk: the same bits as in memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch

from torchlogit.design import Dense, DesignMatrix, Sparse, Streamed
from torchlogit.errors import InputError
from torchlogit.fit import Goal, fit
from torchlogit.losses import loss_for
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.solvers.choice import BY_NAME
from torchlogit.solvers.newton.stochastic_newton import StochasticNewton
from torchlogit.storage import IN_MEMORY, Storage

N, D = 5000, 6
CUTS = {"whole": [], "one row": range(1, N), "uneven": [1, 7, 1000, 1001, 4999], "halves": [2500]}


def table(sparse: bool) -> np.ndarray | scipy.sparse.csr_array:
    random = np.random.default_rng(3)
    values = random.normal(size=(N, D)).astype(np.float32) * [1, 10, 0.1, 1, 1, 1]
    if not sparse:
        return np.ascontiguousarray(values.astype(np.float32))
    values[random.random((N, D)) < 0.6] = 0
    return scipy.sparse.csr_array(values.astype(np.float32))


def of_kind(kind: str, monkeypatch: pytest.MonkeyPatch) -> np.ndarray | scipy.sparse.csr_array:
    """The table, read by torch or by the compiled loops, or sparse."""
    monkeypatch.setattr("torchlogit.design.dense.COMPILED_VALUES", 0 if kind == "compiled" else 1 << 21)
    return table(kind == "sparse")


def streamed(X: np.ndarray | scipy.sparse.csr_array, cuts: list[int]) -> Streamed:
    ends = [0, *cuts, N]

    def read() -> Iterator[np.ndarray | scipy.sparse.csr_array]:
        return (X[first:last] for first, last in pairwise(ends))

    return Streamed.of(read, intercept=True)


def whole(X: np.ndarray | scipy.sparse.csr_array) -> DesignMatrix:
    if scipy.sparse.issparse(X):
        return Sparse.of(X)
    return Dense.of(torch.from_numpy(X))


def objective(design: DesignMatrix, classes: int, storage: Storage = IN_MEMORY, l1: float = 0.0) -> Objective:
    random, loss = np.random.default_rng(4), loss_for(classes)
    raw = table(False) @ random.normal(size=(D, classes))
    codes = torch.from_numpy((raw + random.gumbel(size=raw.shape)).argmax(axis=1))
    target = torch.nn.functional.one_hot(codes, classes).double()
    target = target[:, 1:] if classes == 2 else target
    weight = torch.from_numpy(random.integers(0, 3, N)).double()
    return Objective.of(design, target, loss=loss, penalty=ElasticNet(l1, 1.0), weight=weight, storage=storage)


KINDS = pytest.mark.parametrize("kind", ["torch", "compiled", "sparse"])


@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
@KINDS
def test_blocks_are_those_of_the_whole(kind: str, cuts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    X = of_kind(kind, monkeypatch)
    theta = torch.linspace(-1, 1, D + 1, dtype=torch.float64)[:, None]
    for (rows, block), (same, other) in zip(streamed(X, cuts).blocks(), whole(X).blocks(), strict=True):
        assert rows == same
        raw = block.matmul(theta)
        assert torch.equal(raw, other.matmul(theta))
        assert torch.equal(block.rmatmul(raw), other.rmatmul(raw))
        assert torch.equal(block.gram(raw), other.gram(raw))
        assert torch.equal(block.moments(raw[:, 0]), other.moments(raw[:, 0]))
    indices = torch.tensor([4999, 3, 3, 1000])
    assert torch.equal(streamed(X, cuts).take(indices).dense(), whole(X).take(indices).dense())
    assert torch.equal(streamed(X, cuts).rows(990, 1010).dense(), whole(X).rows(990, 1010).dense())
    some = torch.tensor([0, 4])
    assert torch.equal(streamed(X, cuts).columns(some).dense(), whole(X).columns(some).dense())


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("l1", [0.0, 3.0], ids=["l2", "l1"])
@KINDS
def test_the_same_answer_bit_for_bit(
    kind: str, classes: int, l1: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = of_kind(kind, monkeypatch)
    solver = StochasticNewton(hessian_rows=10)
    expected = fit(objective(whole(X), classes, l1=l1), solver, Goal(tol=1e-8))
    assert expected.certificate.relative_bound <= 1e-8
    for storage in (IN_MEMORY, Storage(tmp_path)):
        for design in (streamed(X, CUTS["uneven"]), whole(X)):
            found = fit(objective(design, classes, storage, l1), solver, Goal(tol=1e-8))
            assert torch.equal(found.params.coef, expected.params.coef)
            assert torch.equal(found.params.intercept, expected.params.intercept)
            assert found.certificate == expected.certificate
    assert not list(tmp_path.iterdir()), "files of vectors have no names"


def test_auto_is_newton_where_rows_are_read_anew() -> None:
    assert isinstance(BY_NAME["auto"](objective(streamed(table(True), []), 2), 0, 1e-6), StochasticNewton)


def test_what_cannot_be_done_without_keeping_rows_is_said() -> None:
    design = streamed(table(True), [])
    with pytest.raises(InputError, match="use solver='newton'"):
        fit(objective(design, 2), BY_NAME["dual"](objective(design, 2), 0, 1e-6))
    with pytest.raises(InputError, match="no rows"):
        Streamed.of(lambda: iter([]), intercept=True)


@pytest.mark.parametrize(("factor", "said"), [(0.5, "fewer now"), (2, "more now")])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_rows_that_are_not_as_many_as_before_are_refused(sparse: bool, factor: float, said: str) -> None:
    X, readings = table(sparse), []

    def read() -> Iterator[np.ndarray | scipy.sparse.csr_array]:
        readings.append(1)
        changed = int(N * factor) if len(readings) > 1 else N
        yield from [X, X][: max(1, int(factor))] if changed > N else [X[:changed]]

    design = Streamed.of(read, intercept=True)
    with pytest.raises(InputError, match=f"5,000 rows were read at first, and {said}; start again"):
        for _ in design.blocks():
            pass
