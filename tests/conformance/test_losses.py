"""Every loss: finite for any float, exact to the last digits, its derivatives those of its value."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf
from torch import Tensor

import cases
from cases import LOSSES, LossCase
from reference import losses as reference
from torchlogit.losses import INSIDE, Logistic, Loss, Softmax, loss_for

every_loss = pytest.mark.parametrize("case", LOSSES, ids=cases.named)
EPS = torch.finfo(torch.float64).eps
SIZES = (0.0, 1e-12, 0.3, 5.0, 40.0, 300.0, 2000.0)


def doubles(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def hard_targets(loss: Loss) -> Tensor:
    """Every label, one a row."""
    return doubles([0.0], [1.0]) if loss.n_outputs == 1 else torch.eye(loss.n_outputs, dtype=torch.float64)


def soft_targets(loss: Loss) -> Tensor:
    """Probabilities in between, in exact binary fractions."""
    if loss.n_outputs == 1:
        return doubles([0.5], [0.125], [1 - 2.0**-20], [2.0**-40])
    rows = [[2.0 ** -(k + 1) for k in range(loss.n_outputs)] for _ in range(2)]
    rows[0][-1] *= 2
    rows[1] = [0.75, 0.25] + [0.0] * (loss.n_outputs - 2)
    return doubles(*rows)


def grid(case: LossCase, targets: Tensor, sizes: tuple[float, ...] = SIZES) -> tuple[Tensor, Tensor]:
    """(raw, target): raw predictions of all sizes, several of each, against every one of these targets.

    Multiples of 2^-20 where they are large, so that the difference of two is exact: its rounding is no fault of a loss.
    """
    generator = torch.Generator().manual_seed(0)
    rows = []
    for size in sizes:
        direction = torch.randn(3, case.loss.n_outputs, dtype=torch.float64, generator=generator)
        direction[0] = 0
        direction[0, 0] = 1
        rows += [size * direction, -size * direction]
    raw = torch.cat(rows)
    raw = torch.where((raw.abs() > 1e-3) & (raw.abs() < 1e5), torch.round(raw * 2**20) / 2**20, raw)
    return raw.repeat_interleave(len(targets), dim=0), targets.repeat(len(raw), 1)


def close(ours: float, exact: mpf, tolerance: float, size: float | mpf = 0.0) -> bool:
    """|ours - exact| <= tolerance * max(|exact|, size), or below the smallest float."""
    return bool(abs(mpf(ours) - exact) <= tolerance * max(abs(exact), mpf(size)) + mpf(1e-320))


@every_loss
@pytest.mark.parametrize("target_kind", [hard_targets, soft_targets])
def test_values_are_those_of_the_definition(case: LossCase, target_kind: Callable[[Loss], Tensor]) -> None:
    raw, target = grid(case, target_kind(case.loss))
    for z, y, ours in zip(raw.tolist(), target.tolist(), case.loss.value(raw, target).tolist(), strict=True):
        exact = reference.value(z, y)
        assert close(ours, exact, 1e-15), f"raw {z}, target {y}: {ours} against {mp.nstr(exact, 20)}"


@pytest.mark.parametrize("target", [1 - 2.0**-52, 1 - 2.0**-40, 1 - 2.0**-20])
def test_value_of_a_target_all_but_one(target: float) -> None:
    """The loss is then tiny, and must not be the difference of two large numbers."""
    for z in (1.0, 40.0, 500.0):
        ours = float(Logistic().value(doubles([z]), doubles([target])))
        exact = reference.value([z], [target])
        assert close(ours, exact, 1e-15), f"raw {z}, target {target}: {ours} against {mp.nstr(exact, 20)}"


def test_a_tiny_loss_keeps_its_digits() -> None:
    assert float(Logistic().value(doubles([40.0]), doubles([1.0]))) == pytest.approx(4.248354255291589e-18, rel=1e-15)


@every_loss
@pytest.mark.parametrize("size", [1e4, 1e100, 1e300])
def test_everything_is_finite_at_any_float(case: LossCase, size: float) -> None:
    loss = case.loss
    for targets in (hard_targets(loss), soft_targets(loss)):
        raw, target = grid(case, targets, (size,))
        residual = loss.residual(raw, target)
        step = torch.roll(raw, 1, dims=0)
        moved = loss.dual_point(residual, target, step.clamp(-1e150, 1e150))
        for name, tensor in {
            "value": loss.value(raw, target),
            "residual": residual,
            "curvature": loss.curvature_product(residual, target, torch.ones_like(raw)),
            "entropy": loss.negative_entropy(residual, target),
            "dual point": moved,
            "entropy there": loss.negative_entropy(moved, target),
            "margin": loss.margin(raw, target),
        }.items():
            assert bool(torch.isfinite(tensor).all()), f"{name} is not finite"
        assert bool((loss.value(raw, target) >= 0).all())


@every_loss
def test_residual_is_probability_less_target(case: LossCase) -> None:
    """Relative to itself for labels; relative to the larger of its two parts for targets in between."""
    for targets, hard in ((hard_targets(case.loss), True), (soft_targets(case.loss), False)):
        raw, target = grid(case, targets)
        for z, y, ours in zip(raw.tolist(), target.tolist(), case.loss.residual(raw, target).tolist(), strict=True):
            for r, exact, wanted in zip(ours, reference.residual(z, y), y, strict=True):
                size = 0.0 if hard else wanted
                assert close(r, exact, 2e-15, size), f"raw {z}, target {y}: {r} against {mp.nstr(exact, 20)}"


@every_loss
def test_residual_is_the_derivative_of_value(case: LossCase) -> None:
    generator = torch.Generator().manual_seed(1)
    raw = 3 * torch.randn(12, case.loss.n_outputs, dtype=torch.float64, generator=generator)
    target = hard_targets(case.loss).repeat(12, 1)[:12]
    residual = case.loss.residual(raw, target)
    for i in range(12):
        for k in range(case.loss.n_outputs):
            z, y = raw[i].tolist(), target[i].tolist()

            def along(t: mpf, z: list[float] = z, y: list[float] = y, k: int = k) -> mpf:
                return reference.value([mpf(v) + t * (j == k) for j, v in enumerate(z)], y)

            with mp.workdps(40):
                assert close(float(residual[i, k]), mp.diff(along, 0), 2e-15, 1e-3)


@every_loss
def test_curvature_product_is_the_derivative_of_residual(case: LossCase) -> None:
    """Relative to itself for a label that the row is on the right side of, however close its probability is to 1."""
    loss = case.loss
    raw, target = grid(case, torch.cat([hard_targets(loss), soft_targets(loss)]), (0.0, 0.3, 5.0, 40.0))
    generator = torch.Generator().manual_seed(2)
    vector = torch.randn(raw.shape, dtype=torch.float64, generator=generator)
    ours = loss.curvature_product(loss.residual(raw, target), target, vector)
    for z, y, v, got in zip(raw.tolist(), target.tolist(), vector.tolist(), ours.tolist(), strict=True):
        with reference.digits(z):
            q = reference.probability(z)
            exact = reference.variance_product(q, v)
            exact_small_one = float(loss.margin(doubles(z), doubles(y))) > 0 and set(y) <= {0.0, 1.0}
            largest = max(q) if len(q) > 1 else max(q[0], 1 - q[0])
            spread = max(abs(a) for a in v) * (1 - largest)  # what the sum's terms may hold each
        for k, (a, b) in enumerate(zip(got, exact, strict=True)):
            size = 2 * spread * (q[k] if len(q) > 1 else 1) if exact_small_one else max(abs(w) for w in v)
            assert close(a, b, 4e-15, size), f"raw {z}, target {y}: {a} against {mp.nstr(b, 20)}"


@every_loss
def test_curvature_is_symmetric_and_positive(case: LossCase) -> None:
    loss = case.loss
    raw, target = grid(case, hard_targets(loss), (0.3, 5.0))
    residual = loss.residual(raw, target)
    generator = torch.Generator().manual_seed(3)
    v, w = torch.randn(2, *raw.shape, dtype=torch.float64, generator=generator)
    cv, cw = loss.curvature_product(residual, target, v), loss.curvature_product(residual, target, w)
    torch.testing.assert_close((cv * w).sum(dim=1), (cw * v).sum(dim=1), rtol=1e-12, atol=1e-15)
    assert bool(((cv * v).sum(dim=1) >= 0).all())


def sized_step(loss: Loss, rows: int, size: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(rows, loss.n_outputs, dtype=torch.float64, generator=generator)


@every_loss
@pytest.mark.parametrize("size", [0.0, 1e-8, 0.5, 3.0, 1e3, 1e12])
def test_dual_point_is_inside_the_simplex(case: LossCase, size: float) -> None:
    loss = case.loss
    for targets in (hard_targets(loss), soft_targets(loss)):
        raw, target = grid(case, targets, (0.0, 0.3, 5.0, 30.0))
        residual = loss.residual(raw, target)
        step = sized_step(loss, len(raw), size, 4)
        moved = loss.dual_point(residual, target, step)
        q, p = target + moved, target + residual
        ulp = 4 * EPS
        assert bool((q >= -ulp).all())
        assert bool((q <= 1 + ulp).all())
        if loss.n_outputs == 1:
            assert bool((q >= INSIDE * p - ulp).all())
            assert bool((1 - q >= INSIDE * (1 - p) - ulp).all())
        else:
            assert float(moved.sum(dim=1).abs().max()) <= 8 * EPS
            assert bool((q >= -ulp).all())


@every_loss
def test_dual_point_of_a_hard_target_never_reaches_the_border(case: LossCase) -> None:
    """Measured on the residual, where a probability of 1e-15 beside 1 still has all its digits."""
    loss = case.loss
    raw, target = grid(case, hard_targets(loss), (5.0, 30.0, 80.0))
    for size in (0.5, 3.0, 1e3):
        moved = loss.dual_point(loss.residual(raw, target), target, sized_step(loss, len(raw), size, 5))
        if loss.n_outputs == 1:
            assert bool((moved * (1 - 2 * target) > 0).all())
        else:
            assert bool((moved[target == 0] > 0).all())
            assert bool((moved[target == 1] < 0).all())


@every_loss
def test_dual_point_of_a_small_step_is_the_linear_one(case: LossCase) -> None:
    loss = case.loss
    raw, target = grid(case, hard_targets(loss), (0.3, 5.0, 30.0))
    residual = loss.residual(raw, target)
    step = sized_step(loss, len(raw), 0.1, 6)
    linear = residual + loss.curvature_product(residual, target, step)
    torch.testing.assert_close(loss.dual_point(residual, target, step), linear, rtol=1e-13, atol=0.0)


def nearly_labels(loss: Loss) -> Tensor:
    """Soft targets that are all but 0 or 1."""
    if loss.n_outputs == 1:
        return doubles([1 - 2.0**-20], [2.0**-40])
    return doubles([1 - 2.0**-20, 2.0**-20] + [0.0] * (loss.n_outputs - 2))


def half_and_half(loss: Loss) -> Tensor:
    """Soft targets that are far from 0 and 1."""
    return doubles([0.5], [0.125], [0.75]) if loss.n_outputs == 1 else soft_targets(loss)


@every_loss
@pytest.mark.parametrize("target_kind", [hard_targets, half_and_half, nearly_labels])
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([0.1, 3.0, 30.0]), step=st.sampled_from([0.0, 0.01, 1.0]))
def test_divergence_is_exact_and_not_negative(
    case: LossCase, target_kind: Callable[[Loss], Tensor], seed: int, size: float, step: float
) -> None:
    """value(raw, target) - residual raw + entropy is KL(q || p(raw)), to the rounding that a certificate allows for."""
    loss = case.loss
    generator = torch.Generator().manual_seed(seed)
    raw = size * torch.randn(4, loss.n_outputs, dtype=torch.float64, generator=generator)
    if loss.n_outputs > 1:
        raw -= raw.mean(dim=1, keepdim=True)
    targets = target_kind(loss)
    target = targets[torch.randint(len(targets), (4,), generator=generator)]
    at = raw + step * torch.randn(raw.shape, dtype=torch.float64, generator=generator)
    residual = loss.dual_point(loss.residual(at, target), target, sized_step(loss, 4, step, seed))
    value, tilt = loss.value(raw, target), (residual * raw).sum(dim=1)
    entropy = loss.negative_entropy(residual, target)
    ours = value - tilt + entropy
    allowance = 16 * EPS * (value + (residual * raw).abs().sum(dim=1) + entropy.abs() + residual.abs().sum(dim=1))
    for i in range(4):
        with mp.workdps(60):
            q = [mpf(y) + mpf(r) for y, r in zip(target[i].tolist(), residual[i].tolist(), strict=True)]
            if min(q) < 0 or max(q) > 1:
                q = [min(max(a, mpf(0)), mpf(1)) for a in q]
            exact = reference.divergence(q, raw[i].tolist())
        assert float(ours[i]) >= -float(allowance[i])
        assert abs(mpf(float(ours[i])) - exact) <= float(allowance[i]), f"KL {mp.nstr(exact, 20)} as {float(ours[i])}"


@every_loss
def test_divergence_from_itself_is_zero(case: LossCase) -> None:
    loss = case.loss
    raw, target = grid(case, hard_targets(loss), (0.0, 0.3, 5.0, 40.0))
    residual = loss.residual(raw, target)
    value, entropy = loss.value(raw, target), loss.negative_entropy(residual, target)
    tilt = residual * raw
    allowance = 16 * EPS * (value + tilt.abs().sum(dim=1) + entropy.abs() + residual.abs().sum(dim=1))
    assert bool(((value - tilt.sum(dim=1) + entropy).abs() <= allowance).all())


@every_loss
def test_margin_is_the_least_contrast(case: LossCase) -> None:
    loss = case.loss
    raw, target = grid(case, hard_targets(loss), (0.0, 0.3, 5.0))
    contrasts = loss.contrasts(target)
    assert contrasts.shape == (len(raw), case.n_classes - 1, loss.n_outputs)
    least = (contrasts * raw[:, None, :]).sum(dim=2).amin(dim=1)
    torch.testing.assert_close(loss.margin(raw, target), least, rtol=0.0, atol=1e-14)


@every_loss
def test_margin_is_positive_only_where_the_likeliest_class_is_the_label(case: LossCase) -> None:
    loss = case.loss
    raw, target = grid(case, hard_targets(loss), (0.3, 5.0))
    full = (torch.cat([torch.zeros_like(t), t], dim=1) if loss.n_outputs == 1 else t for t in (raw, 2 * target - 1))
    predicted, wanted = (every.argmax(dim=1) for every in full)
    right = predicted == wanted
    ties = loss.margin(raw, target) == 0
    assert torch.equal((loss.margin(raw, target) > 0) | ties, right | ties)


@every_loss
def test_margin_of_a_soft_target_is_never_positive(case: LossCase) -> None:
    raw, target = grid(case, soft_targets(case.loss), (0.0, 0.3, 5.0, 1e4))
    assert bool((case.loss.margin(raw, target) <= 0).all())


@every_loss
def test_spread_bounds_how_far_log_odds_move(case: LossCase) -> None:
    loss = case.loss
    step = torch.randn(20, loss.n_outputs, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    if loss.n_outputs == 1:
        moved = step.abs()[:, 0]
    else:
        moved = (step[:, :, None] - step[:, None, :]).abs().flatten(1).amax(dim=1)
    torch.testing.assert_close(loss.spread(step), moved, rtol=1e-15, atol=0.0)


@every_loss
def test_basis_is_orthonormal_and_spans_what_the_loss_sees(case: LossCase) -> None:
    basis = case.loss.basis()
    assert basis.shape == (case.loss.n_outputs, case.n_classes - 1)
    torch.testing.assert_close(basis.T @ basis, torch.eye(case.n_classes - 1, dtype=torch.float64))
    raw, target = grid(case, hard_targets(case.loss), (0.3, 5.0))
    torch.testing.assert_close(case.loss.value(raw @ basis @ basis.T, target), case.loss.value(raw, target))


def test_two_classes_of_softmax_are_the_logistic_loss() -> None:
    raw = torch.randn(20, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    target = (torch.arange(20) % 3 == 0).to(torch.float64)[:, None]
    both, wanted = torch.cat([torch.zeros_like(raw), raw], dim=1), torch.cat([1 - target, target], dim=1)
    torch.testing.assert_close(Softmax(2).value(both, wanted), Logistic().value(raw, target), rtol=1e-14, atol=0.0)
    torch.testing.assert_close(Softmax(2).residual(both, wanted)[:, 1:], Logistic().residual(raw, target))


def test_loss_for_the_number_of_classes() -> None:
    assert loss_for(2) == Logistic()
    assert loss_for(4) == Softmax(4)
