"""F, its gradient, Hessian and products are the plain sums, for every loss, penalty, intercept, weight and dtype."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from mpmath import mp
from torch import Tensor

import cases
from cases import LOSSES, PENALTIES, SMOOTH, LossCase, PenaltyCase, Table
from reference import exact
from reference.objective import EXTENDED, REASON, Plain, Real
from torchlogit.design import Dense, Sparse
from torchlogit.design import dense as dense_design
from torchlogit.design import matrix as design_matrix
from torchlogit.errors import InputError
from torchlogit.kernels import dense as kernels
from torchlogit.kernels import parallel
from torchlogit.losses import Logistic
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Params

WEIGHTS = {"ones": None, "counts": cases.small_counts, "uneven": cases.uneven}
TARGETS = {"labels": cases.labels, "soft": cases.soft}


def make(
    loss: LossCase,
    penalty: PenaltyCase,
    *,
    intercept: bool = True,
    weights: str = "ones",
    targets: str = "labels",
    dtype: torch.dtype = torch.float64,
    n: int = 60,
    design: str = "dense",
) -> Objective:
    table = cases.table(
        cases.rare, n=n, d=4, n_outputs=loss.loss.n_outputs, weights=WEIGHTS[weights], targets=TARGETS[targets]
    )
    return cases.objective_of(table, loss.loss, penalty.penalty, intercept=intercept, dtype=dtype, design=design)


def every_objective() -> list[Any]:
    """All combinations."""
    combinations = itertools.product(
        LOSSES,
        SMOOTH,
        (True, False),
        (("ones", "labels"), ("counts", "soft"), ("uneven", "labels")),
        (torch.float32, torch.float64),
        cases.DESIGNS,
    )
    return [
        pytest.param(
            loss, penalty, {"intercept": intercept, "weights": weights, "targets": targets, "dtype": dtype,
                            "design": design},
            id="-".join([cases.named(loss), cases.named(penalty), "b" if intercept else "no-b", weights, targets,
                         str(dtype)[6:], design]),
        )
        for loss, penalty, intercept, (weights, targets), dtype, design in combinations
    ]  # fmt: skip


def plain_theta(theta: Tensor) -> np.ndarray:
    return theta.numpy().astype(Real)


def agree(ours: Tensor, exact: np.ndarray, tolerance: float = 1e-13) -> None:
    """Close, relative to the largest entry of each row of the reference."""
    wanted = torch.from_numpy(np.asarray(exact, dtype=np.float64))
    assert ours.shape == wanted.shape
    assert float((ours - wanted).abs().max()) <= tolerance * max(float(wanted.abs().max()), 1e-300)


@pytest.mark.parametrize(("loss", "penalty", "options"), every_objective())
def test_sums_are_those_of_the_reference(loss: LossCase, penalty: PenaltyCase, options: dict[str, object]) -> None:
    objective = make(loss, penalty, **options)  # type: ignore[arg-type]
    plain = Plain.of(objective)
    theta = cases.random_theta(objective)
    at = plain_theta(theta)
    raw = objective.raw(theta)
    residual = objective.residual(raw)
    agree(raw, plain.raw(at))
    penalised = penalty.reference.value(objective.coef(theta).numpy())
    losses = (plain.weight * plain.losses(plain.raw(at))).sum()
    assert objective.value(theta, raw) == pytest.approx(float(losses + penalised), rel=1e-14)
    assert objective.value(theta, raw) == pytest.approx(float(plain.value(at)), rel=1e-14)
    agree(residual, plain.residual(plain.raw(at)))
    agree(objective.gradient(theta, residual), plain.gradient(at))
    assert objective.total_weight == pytest.approx(float(plain.weight.sum()), rel=1e-15)

    basis = objective.basis().numpy()
    hessian = np.einsum("kalb,km,ln->manb", plain.hessian(at), basis, basis)
    size = hessian.shape[0] * hessian.shape[1]
    hessian = hessian.reshape(size, size)
    ours = objective.hessian(residual)
    agree(ours, hessian)
    agree(ours, ours.T.numpy(), 1e-15)
    free = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    product = objective.hessian_operator(residual)(objective.from_free(free))
    agree(objective.to_free(product), hessian @ free.numpy(), 1e-12)
    agree(objective.hessian_diagonal(residual), np.einsum("kaka->ak", plain.hessian(at)))

    agree(objective.moments[0], plain.weight @ plain.x)
    agree(objective.moments[1], plain.weight @ plain.x**2)


@pytest.mark.parametrize("loss", LOSSES, ids=cases.named)
def test_gradient_is_the_derivative_of_value(loss: LossCase) -> None:
    objective = make(loss, PENALTIES[1], weights="uneven")
    theta, step = cases.random_theta(objective), cases.random_theta(objective, seed=1)
    h = 1e-5
    high, low = theta + h * step, theta - h * step
    slope = (objective.value(high, objective.raw(high)) - objective.value(low, objective.raw(low))) / (2 * h)
    gradient = objective.gradient(theta, objective.residual(objective.raw(theta)))
    assert float((gradient * step).sum()) == pytest.approx(slope, rel=1e-7)


@pytest.mark.skipif(not EXTENDED, reason=REASON)
def test_the_longdouble_reference_is_the_fifty_digit_one() -> None:
    objective = make(LOSSES[0], PENALTIES[1], weights="uneven", n=30)
    plain = Plain.of(objective)
    theta = plain_theta(cases.random_theta(objective))
    for loss, targets in ((LOSSES[0], "labels"), (LOSSES[1], "soft")):
        objective = make(loss, PENALTIES[1], weights="uneven", targets=targets, n=30)
        plain = Plain.of(objective)
        theta = plain_theta(cases.random_theta(objective))
        with mp.workdps(exact.DIGITS):
            difference = abs(exact.value(plain, theta) - exact.number(plain.value(theta)))
        assert difference <= plain.rounding(theta)


# -- the same problem, stated otherwise ----------------------------------------------------------------


def sums(objective: Objective, theta: Tensor) -> dict[str, Tensor]:
    """Everything that sums over rows, at a point."""
    raw = objective.raw(theta)
    residual = objective.residual(raw)
    direction = torch.linspace(-1, 2, theta.numel(), dtype=torch.float64).reshape(theta.shape)
    return {
        "value": torch.tensor(objective.value(theta, raw), dtype=torch.float64),
        "gradient": objective.gradient(theta, residual),
        "hessian": objective.hessian(residual),
        "product": objective.hessian_operator(residual)(direction),
        "diagonal": objective.hessian_diagonal(residual),
        "moments": torch.stack(objective.moments),
    }


def assert_same(ours: dict[str, Tensor], other: dict[str, Tensor], tolerance: float = 1e-13) -> None:
    for name, tensor in ours.items():
        difference = float((tensor - other[name]).abs().max())
        assert difference <= tolerance * float(tensor.abs().max()), f"{name} differs by {difference}"


def restated(objective: Objective, rows: Tensor, weight: Tensor) -> Objective:
    """The objective of these rows, with these weights."""
    assert isinstance(objective.design, Dense)
    table = Dense.of(objective.design.values[rows], intercept=objective.design.has_intercept)
    target = objective.target[rows]
    return Objective.of(table, target, loss=objective.loss, penalty=objective.penalty, weight=weight)


@pytest.mark.parametrize("block_rows", [1, 7, 64])
@pytest.mark.parametrize("loss", LOSSES, ids=cases.named)
def test_sums_over_many_blocks_are_those_over_one(
    loss: LossCase, block_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(loss, PENALTIES[1], weights="uneven", n=300)
    theta = cases.random_theta(whole)
    assert len(list(whole.design.blocks())) == 1
    one = sums(whole, theta)
    monkeypatch.setattr(dense_design, "BLOCK_BYTES", 1)
    monkeypatch.setattr(design_matrix, "MIN_BLOCK_ROWS", block_rows)
    many = make(loss, PENALTIES[1], weights="uneven", n=300)
    assert len(list(many.design.blocks())) == -(-300 // block_rows)
    assert_same(one, sums(many, theta))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", LOSSES, ids=cases.named)
def test_compiled_sums_are_the_others_whatever_the_threads(
    loss: LossCase, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(loss, PENALTIES[1], weights="uneven", n=3000, dtype=dtype)
    theta = cases.random_theta(whole)
    by_torch = sums(whole, theta)
    monkeypatch.setattr(dense_design, "COMPILED_VALUES", 0)
    monkeypatch.setattr(dense_design, "COMPILED_BYTES", 1 << 14)
    compiled = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        compiled.append(sums(make(loss, PENALTIES[1], weights="uneven", n=3000, dtype=dtype), theta))
    assert_same(by_torch, compiled[0])
    for other in compiled[1:]:
        assert all(torch.equal(tensor, other[name]) for name, tensor in compiled[0].items())


@pytest.mark.parametrize("loss", LOSSES, ids=cases.named)
def test_integer_weights_are_repeated_rows(loss: LossCase) -> None:
    weighted = make(loss, PENALTIES[1], weights="counts")
    rows = torch.repeat_interleave(torch.arange(60), weighted.weight.long())
    repeated = restated(weighted, rows, torch.ones(len(rows)))
    theta = cases.random_theta(weighted)
    assert_same(sums(weighted, theta), sums(repeated, theta))


@pytest.mark.parametrize("loss", LOSSES, ids=cases.named)
def test_rows_of_weight_zero_change_nothing(loss: LossCase) -> None:
    weighted = make(loss, PENALTIES[1], weights="counts")
    rows = weighted.weight.nonzero()[:, 0]
    theta = cases.random_theta(weighted)
    assert 0 < len(rows) < 60
    assert_same(sums(weighted, theta), sums(restated(weighted, rows, weighted.weight[rows]), theta))
    torch.testing.assert_close(weighted.start(), restated(weighted, rows, weighted.weight[rows]).start())


@pytest.mark.parametrize("loss", LOSSES, ids=cases.named)
def test_the_order_of_rows_is_nothing_but_rounding(loss: LossCase) -> None:
    objective = make(loss, PENALTIES[1], weights="uneven")
    order = torch.randperm(60, generator=torch.Generator().manual_seed(2))
    theta = cases.random_theta(objective)
    assert_same(sums(objective, theta), sums(restated(objective, order, objective.weight[order]), theta))


def test_a_sample_of_every_row_is_the_objective() -> None:
    objective = make(LOSSES[1], PENALTIES[1], weights="uneven")
    theta = cases.random_theta(objective)
    sample = objective.sample(torch.arange(60), torch.ones(60, dtype=torch.float64))
    assert_same(sums(objective, theta), sums(sample, theta), 0.0)


def test_a_sample_counts_rows_as_often_as_told() -> None:
    objective = make(LOSSES[1], PENALTIES[0], weights="uneven")
    theta = cases.random_theta(objective)
    halves = [torch.arange(0, 60, 2), torch.arange(1, 60, 2)]
    parts = [sums(objective.sample(rows, torch.tensor(1.0, dtype=torch.float64)), theta) for rows in halves]
    assert_same(sums(objective, theta), {name: parts[0][name] + parts[1][name] for name in parts[0]})


# -- points --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("loss", LOSSES, ids=cases.named)
def test_params_and_back(loss: LossCase, intercept: bool) -> None:
    objective = make(loss, PENALTIES[1], intercept=intercept)
    theta = cases.random_theta(objective)
    params = objective.params(theta)
    assert params.coef.shape == (4, loss.loss.n_outputs)
    assert params.intercept.shape == (loss.loss.n_outputs,)
    if intercept and loss.loss.n_outputs > 1:  # the sum of the intercepts is free, and made zero
        theta[-1] -= theta[-1].mean()
    assert torch.equal(objective.theta(params), theta)
    assert torch.equal(objective.coef(theta), params.coef)
    if not intercept:
        assert torch.equal(params.intercept, torch.zeros(loss.loss.n_outputs, dtype=torch.float64))


def test_params_are_copies() -> None:
    objective = make(LOSSES[0], PENALTIES[1])
    theta = cases.random_theta(objective)
    params = objective.params(theta)
    before = params.coef.clone()
    theta += 1
    assert torch.equal(params.coef, before)
    again = objective.theta(params)
    again += 1
    assert torch.equal(params.coef, before)


def test_params_in_float32_are_taken() -> None:
    objective = make(LOSSES[0], PENALTIES[1])
    params = Params(torch.ones(4, 1), torch.ones(1))
    assert objective.theta(params).dtype == torch.float64


@pytest.mark.parametrize("loss", LOSSES, ids=cases.named)
def test_free_coordinates_and_back(loss: LossCase) -> None:
    objective = make(loss, PENALTIES[1])
    free = torch.randn(5 * (loss.n_classes - 1), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(objective.to_free(objective.from_free(free)), free)
    theta = objective.visible(cases.random_theta(objective))
    torch.testing.assert_close(objective.from_free(objective.to_free(theta)), theta)
    torch.testing.assert_close(objective.visible(theta), theta)
    other = cases.random_theta(objective, seed=4)
    product = (theta * objective.visible(other)).sum()
    torch.testing.assert_close(objective.to_free(theta) @ objective.to_free(other), product)


@pytest.mark.parametrize("loss", LOSSES, ids=cases.named)
def test_visible_keeps_the_losses_and_never_raises_the_penalty(loss: LossCase) -> None:
    objective = make(loss, PENALTIES[1])
    theta = cases.random_theta(objective)
    seen = objective.visible(theta)
    plain = [objective.loss.value(objective.raw(t), objective.target) for t in (theta, seen)]
    torch.testing.assert_close(plain[0], plain[1])
    assert objective.penalty.value(objective.coef(seen)) <= objective.penalty.value(objective.coef(theta)) * (1 + 1e-15)
    if loss.loss.n_outputs > 1:
        assert float(seen.sum(dim=1).abs().max()) <= 1e-14


@pytest.mark.parametrize("loss", LOSSES, ids=cases.named)
def test_the_start_predicts_the_mean_target(loss: LossCase) -> None:
    objective = make(loss, PENALTIES[1], weights="uneven", targets="soft")
    start = objective.start()
    raw = objective.raw(start)
    mean = objective.weight @ (objective.residual(raw) + objective.target) / objective.total_weight
    torch.testing.assert_close(mean, objective.weight @ objective.target / objective.total_weight)
    assert bool((objective.coef(start) == 0).all())


# -- what is refused --------------------------------------------------------------------------------------


def refused(match: str, **changed: Tensor) -> None:
    parts = {"target": torch.tensor([[0.0], [1.0]]), "weight": torch.ones(2)} | changed
    table = Dense.of(torch.tensor([[1.0], [2.0]]))
    with pytest.raises(InputError, match=match):
        Objective.of(table, parts["target"], loss=Logistic(), penalty=ElasticNet(l2=1.0), weight=parts["weight"])


def test_bad_parts_are_refused() -> None:
    refused("target has shape", target=torch.ones(3, 1))
    refused("outside", target=torch.tensor([[0.0], [1.5]]))
    refused("outside", target=torch.tensor([[0.0], [float("nan")]]))
    refused("finite numbers, none negative", weight=torch.tensor([1.0, -1.0]))
    refused("finite numbers, none negative", weight=torch.tensor([1.0, float("inf")]))
    refused("finite numbers, none negative", weight=torch.tensor([1.0, float("nan")]))
    refused("finite numbers", weight=torch.ones(3))
    refused("zero on every row", weight=torch.zeros(2))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_bad_cell_is_named(bad: float) -> None:
    values = torch.ones(5, 3)
    values[3, 1] = bad
    with pytest.raises(InputError, match="row 3, column 1"):
        Dense.of(values)


def test_large_finite_values_whose_sum_overflows_are_taken() -> None:
    Dense.of(torch.full((3, 2), 3e38))


def test_a_design_needs_rows_and_two_dimensions() -> None:
    with pytest.raises(InputError, match="dimensions"):
        Dense.of(torch.ones(3))
    with pytest.raises(InputError, match="no rows"):
        Dense.of(torch.ones(0, 3))


def test_integers_become_float64() -> None:
    assert Dense.of(torch.tensor([[1, 2], [3, 4]])).values.dtype == torch.float64


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("intercept", [True, False])
def test_design_rows_answer_what_a_matrix_would(
    intercept: bool, dtype: torch.dtype, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense_design, "BLOCK_BYTES", 1)
    monkeypatch.setattr(dense_design, "COMPILED_BYTES", 1)
    monkeypatch.setattr(dense_design, "COMPILED_VALUES", 0 if compiled else 10**9)
    monkeypatch.setattr(design_matrix, "MIN_BLOCK_ROWS", 7)
    monkeypatch.setattr(kernels, "MIN_ROWS", 2)
    monkeypatch.setattr(parallel, "MIN_ROWS", 2)
    table = cases.table(cases.rare, n=30, d=4)
    matrix = torch.from_numpy(table.x).to(dtype)
    dense = Dense.of(matrix, intercept=intercept)
    assert {type(block) for _, block in dense.blocks()} == {
        dense_design.CompiledRows if compiled else dense_design.DenseRows
    }
    matrix = matrix.double()
    if intercept:
        matrix = torch.cat([matrix, torch.ones(30, 1, dtype=torch.float64)], dim=1)
    p = matrix.shape[1]
    assert dense.shape == (30, p)
    generator = torch.Generator().manual_seed(0)
    center, precision, weights = torch.rand(3, 30, dtype=torch.float64, generator=generator)
    center, precision = center[:p], precision[:p]
    square = torch.rand(p, p, dtype=torch.float64, generator=generator)
    for rows, block in dense.blocks():
        part = matrix[rows]
        torch.testing.assert_close(block.matmul(square), part @ square)
        torch.testing.assert_close(block.rmatmul(part), part.T @ part)
        both = torch.stack([weights[rows], 0.5 - weights[rows]], dim=1)
        grams = torch.einsum("np,nm,nq->mpq", part, both, part)
        torch.testing.assert_close(block.gram(both), grams)
        rough = block.rough_gram(both[:, :1])
        torch.testing.assert_close(rough, grams[:1], rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=1e-5)
        torch.testing.assert_close(block.moments(weights[rows])[0], (weights[rows, None] * part).sum(dim=0))
        torch.testing.assert_close(block.moments(weights[rows])[1], (weights[rows, None] * part**2).sum(dim=0))
        squares = torch.einsum("np,nm->pm", part**2, both)
        torch.testing.assert_close(block.squares(both), squares)
        torch.testing.assert_close(block.largest(center, precision), ((part - center) ** 2 * precision).amax(dim=1))
        torch.testing.assert_close(block.quadratic(square), torch.einsum("np,pq,nq->n", part, square, part))
    indices = torch.tensor([4, 4, 20])
    assert torch.equal(dense.take(indices).dense(), matrix[indices])
    assert torch.equal(dense.rows(3, 20).dense(), matrix[3:20])
    assert (dense.csr().toarray() == dense.values.numpy()).all()


def test_tables_keep_their_dtype_and_are_not_copied() -> None:
    values = torch.ones(5, 2, dtype=torch.float32)
    assert Dense.of(values).values.data_ptr() == values.data_ptr()


def test_reading_does_not_change_the_table() -> None:
    table: Table = cases.table(n=50)
    before = table.x.copy()
    objective = cases.objective_of(table, Logistic(), ElasticNet())
    theta = cases.random_theta(objective)
    sums(objective, theta)
    assert (table.x == before).all()


SECONDS = np.array([[1.7e9, 0.0, 5.0], [1.7e9 + 1, 2.0, 5.0], [1.7e9 + 3, 0.0, 5.0]])


@pytest.mark.parametrize("design", ["dense", "sparse"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_far_from_zero_can_be_centred_and_losses_stay(design: str, dtype: Any) -> None:
    """What is subtracted is in the intercept; a sparse column with implicit zeros is left alone."""
    x = SECONDS.astype(dtype)
    rows = Dense.of(torch.from_numpy(x)) if design == "dense" else Sparse.of(scipy.sparse.csr_array(x))
    objective = Objective.of(rows, torch.tensor([[0.0], [1.0], [0.0]]), loss=Logistic(), penalty=ElasticNet())
    centred = objective.conditioned()
    assert centred.conditioning is not None
    center, scale = centred.conditioning.center, centred.conditioning.scale
    assert center[0] in x[:, 0].astype(np.float64)
    assert center[1:].tolist() == [0.0, 5.0]
    assert scale.tolist() == [float(dtype is np.float64), 1.0, 0.0]  # in float32 the seconds are all the same
    agree(centred.design.dense()[:, :-1], (x.astype(np.float64) - center) * scale, 0.0)
    coef = torch.from_numpy(np.array([[0.5], [0.2], [0.0]]) * (scale[:, None] > 0))
    params = Params(coef, torch.tensor([-0.5 * 1.7e9], dtype=torch.float64))
    theta, own = centred.theta(params), objective.theta(params)
    assert centred.value(theta, centred.raw(theta)) == pytest.approx(objective.value(own, objective.raw(own)))
    again = centred.params(theta)
    assert torch.equal(again.coef, params.coef)
    assert torch.equal(again.intercept, params.intercept)
    half = Sparse.of(scipy.sparse.csr_array(np.where(x == 5.0, 0.0, x)))
    assert not bool(half.can_center()[1:].any())


def test_without_an_intercept_nothing_is_centred() -> None:
    design = Dense.of(torch.from_numpy(SECONDS), intercept=False)
    objective = Objective.of(design, torch.tensor([[0.0], [1.0], [0.0]]), loss=Logistic(), penalty=ElasticNet())
    assert objective.conditioned() is objective
