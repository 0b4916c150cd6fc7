"""The sparse design: every format, what it refuses, what its rows answer, and the dense answer from the same data."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

import cases
from cases import LOSSES, PENALTIES, LossCase, PenaltyCase, Table
from profiles import examples
from torchlogit import LogisticRegression
from torchlogit.design import Dense, Sparse
from torchlogit.design import sparse as sparse_design
from torchlogit.errors import InputError
from torchlogit.kernels import csr as kernels
from torchlogit.kernels import parallel
from torchlogit.losses import loss_for
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Status

Array = NDArray[Any]


def some(n: int = 12, d: int = 5, seed: int = 0) -> Array:
    """Values of which most are zero."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.3)


# -- what is taken ---------------------------------------------------------------------------------------------------

SCIPY = [
    getattr(scipy.sparse, f"{name}_{kind}")
    for name in ("csr", "csc", "coo", "bsr", "dia", "lil", "dok")
    for kind in ("array", "matrix")
]
TORCH = {
    "csr": lambda dense: dense.to_sparse_csr(),
    "csc": lambda dense: dense.to_sparse_csc(),
    "coo": lambda dense: dense.to_sparse(),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", SCIPY, ids=lambda form: form.__name__)
def test_every_format_of_scipy_is_taken(form: Any, dtype: Any) -> None:
    x = some().astype(dtype)
    design = Sparse.of(form(x))
    assert design.shape == (12, 6)
    assert design.csr().dtype == dtype
    assert (design.csr().toarray() == x).all()


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")  # torch says of CSR and CSC that they are in beta
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("form", TORCH)
def test_every_layout_of_torch_is_taken(form: str, dtype: torch.dtype) -> None:
    x = torch.from_numpy(some()).to(dtype)
    design = Sparse.of(TORCH[form](x))
    assert torch.equal(torch.from_numpy(design.csr().toarray()), x)


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
def test_torch_rows_are_not_copied() -> None:
    tensor = torch.from_numpy(some()).to_sparse_csr()
    assert np.shares_memory(Sparse.of(tensor).csr().data, tensor.values().numpy())


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.int64, np.longdouble])
def test_other_numbers_become_float64(dtype: Any) -> None:
    x = (some() > 0.5).astype(dtype)
    csr = Sparse.of(scipy.sparse.csr_array(x.astype(np.float64)).astype(dtype)).csr()
    assert csr.dtype == np.float64
    assert (csr.toarray() == x).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", [scipy.sparse.csr_array, scipy.sparse.csr_matrix])
def test_canonical_rows_are_not_copied(form: Any, dtype: Any) -> None:
    given_ = form(some().astype(dtype))
    design = Sparse.of(given_)
    for part in ("data", "indices", "indptr"):
        assert np.shares_memory(getattr(design.csr(), part), getattr(given_, part))


def test_long_indices_become_short_ones_and_the_values_are_shared() -> None:
    given_ = scipy.sparse.csr_array(some())
    given_.indices, given_.indptr = given_.indices.astype(np.int64), given_.indptr.astype(np.int64)
    csr = Sparse.of(given_).csr()
    assert csr.indices.dtype == csr.indptr.dtype == np.int32
    assert np.shares_memory(csr.data, given_.data)
    assert given_.indices.dtype == np.int64


def untidy() -> tuple[scipy.sparse.csr_array, Array]:
    """Columns in no order, one twice, an explicit zero, an empty row and an empty column; and the same, dense."""
    data = np.array([3.0, 1.0, 2.0, 0.0, 5.0, -5.0])
    csr = scipy.sparse.csr_array((data, np.array([2, 0, 2, 1, 3, 3]), np.array([0, 3, 3, 6])), shape=(3, 5))
    return csr, np.array([[1.0, 0, 5, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])


def test_untidy_rows_are_tidied_and_left_as_they_were() -> None:
    csr, dense = untidy()
    before = csr.data.copy(), csr.indices.copy(), csr.indptr.copy()
    tidy = Sparse.of(csr).csr()
    assert (tidy.toarray() == dense).all()
    for i in range(3):
        columns = tidy.indices[tidy.indptr[i] : tidy.indptr[i + 1]]
        assert (np.diff(columns) > 0).all()
    for part, kept in zip((csr.data, csr.indices, csr.indptr), before, strict=True):
        assert (part == kept).all()


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_cell_is_named(bad: float, dtype: Any) -> None:
    x = some().astype(dtype)
    x[7, 3] = bad
    with pytest.raises(InputError, match="row 7, column 3"):
        Sparse.of(scipy.sparse.csc_array(x))


def test_a_cell_too_large_to_be_squared_is_named() -> None:
    with pytest.raises(InputError, match="row 0, column 1"):
        Sparse.of(scipy.sparse.csr_array([[0.0, 1e101]]))


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
@pytest.mark.parametrize(
    ("matrix", "match"),
    [
        (np.eye(3), "expected a sparse matrix"),
        (scipy.sparse.coo_array(np.ones(3)), "1 dimensions"),
        (scipy.sparse.csr_array(np.eye(3) * 1j), "real numbers"),
        (scipy.sparse.csr_array((0, 3)), "no rows"),
        (torch.ones(3, 3), "layout"),
        (torch.ones(2, 2, 2).to_sparse(), "rows and features"),
        (torch.ones(2, 3, 2).to_sparse(2), "rows and features"),
    ],
)
def test_what_is_no_sparse_matrix_is_refused(matrix: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        Sparse.of(matrix)


# -- what its rows answer ---------------------------------------------------------------------------------------------

MATRICES = {
    "scarce": lambda: some(60, 7),
    "one value in all": lambda: np.eye(40, 5)[::-1] * 2,
    "no values": lambda: np.zeros((9, 3)),
    "all values": lambda: some(40, 4) + 1,
    "wide": lambda: some(20, 90),
    "one column": lambda: some(30, 1),
    "untidy": lambda: untidy()[1],
    "many rows": lambda: some(3000, 20),
}


def expanded(x: Array, intercept: bool) -> Tensor:
    matrix = torch.from_numpy(x.astype(np.float64))
    return torch.cat([matrix, torch.ones(len(x), 1, dtype=torch.float64)], dim=1) if intercept else matrix


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("name", MATRICES)
def test_rows_answer_what_a_matrix_would(
    name: str, intercept: bool, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse_design, "BLOCK_NONZEROS", 1)
    monkeypatch.setattr(sparse_design, "BLOCK_COLUMNS", 1)
    monkeypatch.setattr(parallel, "MIN_ROWS", 2)
    x = MATRICES[name]().astype(dtype)
    design, matrix = Sparse.of(scipy.sparse.csr_array(x), intercept=intercept), expanded(x, intercept)
    n, p = matrix.shape
    assert design.shape == (n, p)
    assert torch.equal(design.dense(), matrix)
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    center, precision, square, weights = random(p), random(p).abs(), random(p, p), random(n, 3)
    seen = []
    for rows, block in design.blocks():
        part, w = matrix[rows], weights[rows]
        seen.append(torch.arange(n)[rows])
        for theta in (random(p, 1), random(p, 3), random(3, p).T):
            torch.testing.assert_close(block.matmul(theta), part @ theta)
        for residual in (w[:, :1], w, w[:, 1:2]):
            torch.testing.assert_close(block.rmatmul(residual), part.T @ residual)
        torch.testing.assert_close(block.gram(w), torch.einsum("np,nm,nq->mpq", part, w, part))
        torch.testing.assert_close(block.rough_gram(w[:, :1]), (part.T @ (w[:, :1] * part))[None])
        torch.testing.assert_close(block.moments(w[:, 0]), torch.stack([w[:, 0] @ part, w[:, 0] @ part**2]))
        torch.testing.assert_close(block.squares(w), (part**2).T @ w)
        torch.testing.assert_close(block.quadratic(square), ((part @ square) * part).sum(dim=1))
        exact = ((part - center) ** 2 * precision).amax(dim=1)
        bound, most = block.largest(center, precision), ((matrix - center) ** 2 * precision).max()
        zeros = (center**2 * precision).max()
        assert bool((bound >= exact * (1 - 1e-12)).all())
        assert bool((bound <= torch.maximum(most, zeros) * (1 + 1e-12)).all())
    assert torch.equal(torch.cat(seen), torch.arange(n))


def test_gram_of_rows_without_many_zeros_is_that_of_dense_rows() -> None:
    x = some(300, 8, seed=1)
    matrix, weights = expanded(x, True), torch.rand(300, 2, dtype=torch.float64) - 0.5
    for threshold in (0.0, 1.0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sparse_design, "DENSE_SHARE", threshold)
            [(_, block)] = Sparse.of(scipy.sparse.csr_array(x)).blocks()
            torch.testing.assert_close(block.gram(weights), torch.einsum("np,nm,nq->mpq", matrix, weights, matrix))


def test_some_of_the_rows() -> None:
    x = some(50, 6)
    design, matrix = Sparse.of(scipy.sparse.csr_array(x)), expanded(x, True)
    assert torch.equal(design.rows(3, 20).dense(), matrix[3:20])
    assert torch.equal(design.rows(3, 20).rows(2, 9).dense(), matrix[5:12])
    indices = torch.tensor([4, 4, 49, 0])
    assert torch.equal(design.take(indices).dense(), matrix[indices])
    theta = torch.randn(7, 2, dtype=torch.float64)
    [(_, block)] = design.rows(3, 20).take(torch.tensor([1, 0])).blocks()
    torch.testing.assert_close(block.matmul(theta), matrix[[4, 3]] @ theta)


@pytest.mark.parametrize("beside", [0, 10**6], ids=["by rows", "by columns"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_the_same_bits_whatever_the_threads(outputs: int, beside: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "VALUES_PER_PARTIAL", beside)
    monkeypatch.setattr(kernels, "SMALL", 0)
    x = some(3000, 40)
    design = Sparse.of(scipy.sparse.csr_array(x))
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(41, outputs, dtype=torch.float64, generator=generator)
    weights = torch.randn(3000, outputs, dtype=torch.float64, generator=generator)
    runs = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        [(_, block)] = design.blocks()
        runs.append([block.matmul(theta), block.rmatmul(weights), block.moments(weights[:, 0]), block.gram(weights)])
    torch.testing.assert_close(runs[0][1], expanded(x, True).T @ weights)
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


# -- the dense answer -------------------------------------------------------------------------------------------------


def both(loss: LossCase, penalty: PenaltyCase, **options: Any) -> tuple[Objective, Objective]:
    """The same rows, dense and sparse."""
    table = cases.table(cases.scarce, n=80, d=4, n_outputs=loss.loss.n_outputs, weights=cases.small_counts)
    dense, sparse = (
        cases.objective_of(table, loss.loss, penalty.penalty, design=design, **options) for design in cases.DESIGNS
    )
    return dense, sparse


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("penalty", PENALTIES, ids=cases.named)
@pytest.mark.parametrize("loss", LOSSES, ids=cases.named)
def test_sums_are_those_of_dense_rows(loss: LossCase, penalty: PenaltyCase, dtype: torch.dtype) -> None:
    dense, sparse = both(loss, penalty, dtype=dtype)
    theta = cases.random_theta(dense)
    raw = dense.raw(theta)
    residual = dense.residual(raw)
    pairs = [
        (raw, sparse.raw(theta)),
        (dense.gradient(theta, residual), sparse.gradient(theta, residual)),
        (dense.hessian(residual), sparse.hessian(residual)),
        (dense.hessian_operator(residual)(theta), sparse.hessian_operator(residual)(theta)),
        (torch.stack(dense.moments), torch.stack(sparse.moments)),
    ]
    for one, other in pairs:
        assert float((one - other).abs().max()) <= 1e-13 * float(one.abs().max())


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a random table is made of."""

    n: int
    d: int
    share: float
    n_classes: int
    l1: float
    l2: float
    intercept: bool
    single: bool
    weighted: bool
    seed: int

    def x(self) -> Array:
        """Small integers, most of them zero."""
        rng = np.random.default_rng(self.seed)
        x = rng.integers(-3, 4, (self.n, self.d)) * (rng.random((self.n, self.d)) < self.share)
        return x.astype(np.float32 if self.single else np.float64)

    def y(self) -> Array:
        """Labels, each class there."""
        rng = np.random.default_rng(self.seed + 1)
        return np.concatenate([np.arange(self.n_classes), rng.integers(0, self.n_classes, self.n - self.n_classes)])

    def weight(self) -> Array | None:
        """Small counts, none zero."""
        return np.random.default_rng(self.seed + 2).integers(1, 4, self.n).astype(float) if self.weighted else None

    def estimator(self) -> LogisticRegression:
        return LogisticRegression(l1=self.l1, l2=self.l2, fit_intercept=self.intercept, tol=1e-9)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Small tables with empty rows and columns among them."""
    return Recipe(
        n=draw(st.integers(5, 60)),
        d=draw(st.integers(1, 8)),
        share=draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])),
        n_classes=draw(st.sampled_from([2, 2, 3])),
        l1=draw(st.sampled_from([0.0, 0.0, 0.5])),
        l2=draw(st.sampled_from([0.0, 1e-3, 1.0])),
        intercept=draw(st.booleans()),
        single=draw(st.booleans()),
        weighted=draw(st.booleans()),
        seed=draw(st.integers(0, 2**31)),
    )


def shuffled(x: Array, seed: int) -> scipy.sparse.csr_array:
    """x in CSR form with an explicit zero in every row, columns in a random order, and each value in two parts."""
    rng = np.random.default_rng(seed)
    data, indices, indptr = [], [], [0]
    for row in x:
        columns = np.append(np.flatnonzero(row), rng.integers(len(row)))
        values = row[columns]
        values[-1] = 0
        parts = np.concatenate([values - 1, np.ones_like(values)])
        order = rng.permutation(len(parts))
        data.append(parts[order])
        indices.append(np.concatenate([columns, columns])[order])
        indptr.append(indptr[-1] + len(parts))
    arrays = np.concatenate(data), np.concatenate(indices).astype(np.int64), np.array(indptr, dtype=np.int64)
    return scipy.sparse.csr_array(arrays, shape=x.shape)


def fitted(recipe: Recipe, x: Any) -> tuple[LogisticRegression, list[str]]:
    """The estimator, and what it warned of, numbers aside."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator = recipe.estimator().fit(x, recipe.y(), sample_weight=recipe.weight())
    return estimator, ["".join(c for c in str(w.message) if not c.isdigit()) for w in caught]


@given(recipe=recipes())
@examples(60)
def test_the_same_optimum_status_and_warnings(recipe: Recipe) -> None:
    x = recipe.x()
    dense, warned = fitted(recipe, x)
    for form in (scipy.sparse.csr_array(x), scipy.sparse.csc_matrix(x), shuffled(x, recipe.seed)):
        sparse, also_warned = fitted(recipe, form)
        assert sparse.certificate_.status is dense.certificate_.status
        assert also_warned == warned
        if dense.certificate_.status is Status.CERTIFIED:
            ours, theirs = sparse.certificate_.objective, dense.certificate_.objective
            assert ours == pytest.approx(theirs, rel=2e-9)
            assert np.abs(sparse.predict_proba(form) - dense.predict_proba(x)).max() <= 1e-3


def test_a_table_is_the_same_from_a_sparse_one() -> None:
    table: Table = cases.table(cases.scarce, n=60)
    dense, sparse = (
        cases.objective_of(table, loss_for(2), ElasticNet(l2=1.0), design=design).design for design in cases.DESIGNS
    )
    assert isinstance(dense, Dense)
    assert (dense.csr() != sparse.csr()).nnz == 0
    assert torch.equal(dense.dense(), sparse.dense())
