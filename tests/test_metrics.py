"""Every metric against scikit-learn's of the same name, and sums that merge."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score

from torchlogit.losses import Loss, loss_for
from torchlogit.metrics import Metrics, MetricSums, area_under_curve
from torchlogit.model import probabilities

Array = NDArray[np.float64]

SEEDS = st.integers(0, 2**32 - 1)
CLASSES = st.integers(2, 5)
SIZES = st.integers(10, 60)


def rows(seed: int, n_classes: int, n: int, *, distinct: int | None = None) -> tuple[Loss, Array, Array, Array]:
    """A loss, raw predictions (with ties, where few of them are distinct), classes, all of them there, and weights."""
    rng = np.random.default_rng(seed)
    loss = loss_for(n_classes)
    raw = 3 * rng.standard_normal((distinct or n, loss.n_outputs))
    raw = raw[rng.integers(0, len(raw), n)] if distinct else raw
    codes = np.r_[np.arange(n_classes), rng.integers(0, n_classes, n - n_classes)]
    weights = rng.integers(0, 4, n) + rng.choice([0.0, 0.5], n)
    weights[:n_classes] += 1
    return loss, raw, rng.permutation(codes) if distinct else codes, weights


def measured(loss: Loss, raw: Array, codes: Array, weights: Array | None = None) -> Metrics:
    return MetricSums.of(loss, torch.from_numpy(raw), codes, weights).result()


def same(left: dict[str, float | int | None], right: dict[str, float | int | None]) -> bool:
    """Whether the metrics agree to rounding, and lack the same ones."""
    known = [name for name, value in right.items() if value is not None]
    return [name for name, value in left.items() if value is not None] == known and all(
        left[name] == pytest.approx(right[name], rel=1e-12, abs=1e-12) for name in known
    )


@given(SEEDS, CLASSES, SIZES, st.booleans())
def test_log_loss_is_scikit_learns(seed: int, n_classes: int, n: int, weighted: bool) -> None:
    loss, raw, codes, weights = rows(seed, n_classes, n)
    given_weights = weights if weighted else None
    expected = log_loss(codes, probabilities(raw), sample_weight=given_weights, labels=range(n_classes))
    assert measured(loss, raw, codes, given_weights).log_loss == pytest.approx(expected, rel=1e-12)


@given(SEEDS, CLASSES, SIZES, st.booleans())
def test_accuracy_is_scikit_learns(seed: int, n_classes: int, n: int, weighted: bool) -> None:
    loss, raw, codes, weights = rows(seed, n_classes, n)
    given_weights = weights if weighted else None
    predicted = probabilities(raw).argmax(axis=1)
    expected = accuracy_score(codes, predicted, sample_weight=given_weights)
    assert measured(loss, raw, codes, given_weights).accuracy == pytest.approx(expected, rel=1e-12)


@given(SEEDS, SIZES, st.booleans())
def test_brier_of_two_classes_is_scikit_learns(seed: int, n: int, weighted: bool) -> None:
    loss, raw, codes, weights = rows(seed, 2, n)
    given_weights = weights if weighted else None
    expected = brier_score_loss(codes, probabilities(raw)[:, 1], sample_weight=given_weights)
    assert measured(loss, raw, codes, given_weights).brier == pytest.approx(expected, rel=1e-12)


@given(SEEDS, st.integers(3, 5), SIZES, st.booleans())
def test_brier_of_several_classes_sums_over_them(seed: int, n_classes: int, n: int, weighted: bool) -> None:
    loss, raw, codes, weights = rows(seed, n_classes, n)
    given_weights = weights if weighted else None
    squares = ((probabilities(raw) - np.eye(n_classes)[codes]) ** 2).sum(axis=1)
    expected = np.average(squares, weights=given_weights)
    assert measured(loss, raw, codes, given_weights).brier == pytest.approx(expected, rel=1e-12)


@given(SEEDS, SIZES, st.sampled_from([None, 2, 7]), st.booleans())
def test_auc_of_two_classes_is_scikit_learns(seed: int, n: int, distinct: int | None, weighted: bool) -> None:
    loss, raw, codes, weights = rows(seed, 2, n, distinct=distinct)
    weights = weights + 0.25
    given_weights = weights if weighted else None
    expected = roc_auc_score(codes, raw[:, 0], sample_weight=given_weights)
    assert measured(loss, raw, codes, given_weights).auc == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(SEEDS, st.integers(3, 5), SIZES, st.sampled_from([None, 2, 7]), st.booleans())
def test_auc_of_several_classes_is_scikit_learns_macro_mean(
    seed: int, n_classes: int, n: int, distinct: int | None, weighted: bool
) -> None:
    loss, raw, codes, weights = rows(seed, n_classes, n, distinct=distinct)
    weights = weights + 0.25
    given_weights = weights if weighted else None
    expected = roc_auc_score(codes, probabilities(raw), sample_weight=given_weights, multi_class="ovr", average="macro")
    assert measured(loss, raw, codes, given_weights).auc == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.integers(0, 3)), min_size=1, max_size=40))
def test_the_area_counts_pairs_with_ties_one_half(cases: list[tuple[int, bool, int]]) -> None:
    score, positive, weight = (np.array(part) for part in zip(*cases, strict=True))
    up, down = positive, ~positive
    beats = (score[up][:, None] > score[down]) + 0.5 * (score[up][:, None] == score[down])
    pairs = weight[up][:, None] * weight[down]
    found = area_under_curve(score.astype(float), positive, weight.astype(float))
    if pairs.sum() == 0:
        assert found is None
    else:
        assert found == pytest.approx((beats * pairs).sum() / pairs.sum(), rel=1e-12, abs=1e-12)


@given(SEEDS, CLASSES, SIZES, st.lists(st.integers(0, 60), max_size=6))
def test_any_split_of_the_rows_gives_the_same(seed: int, n_classes: int, n: int, cuts: list[int]) -> None:
    loss, raw, codes, weights = rows(seed, n_classes, n, distinct=9)
    parts = zip(*(np.split(part, sorted(min(cut, n) for cut in cuts)) for part in (raw, codes, weights)), strict=True)
    sums = [MetricSums.of(loss, torch.from_numpy(r), c, w) for r, c, w in parts]
    merged, whole = reduce(add, sums).result(), measured(loss, raw, codes, weights)
    assert merged.rows == whole.rows == n
    assert same(merged.as_json(), whole.as_json())


@given(SEEDS, CLASSES, SIZES)
def test_weights_are_repetition(seed: int, n_classes: int, n: int) -> None:
    loss, raw, codes, _ = rows(seed, n_classes, n, distinct=9)
    times = np.r_[np.ones(n_classes, int), np.random.default_rng(seed).integers(0, 4, n - n_classes)]
    weighted = measured(loss, raw, codes, times.astype(float)).as_json()
    repeated = measured(loss, np.repeat(raw, times, axis=0), np.repeat(codes, times)).as_json()
    assert weighted.pop("rows") == n
    assert repeated.pop("rows") == times.sum()
    assert same(weighted, repeated)


@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_no_auc_where_a_class_is_absent(n_classes: int) -> None:
    loss, raw, codes, _ = rows(0, n_classes, 20)
    kept = codes != n_classes - 1
    found = measured(loss, raw[kept], codes[kept])
    assert found.auc is None
    assert found.as_json()["auc"] is None
    assert found.log_loss > 0


def test_no_auc_where_a_class_has_no_weight() -> None:
    loss, raw, codes, _ = rows(0, 2, 20)
    assert measured(loss, raw, codes, (codes == 0).astype(float)).auc is None


@pytest.mark.parametrize("n_classes", [2, 3])
def test_raw_predictions_of_any_size_give_finite_metrics(n_classes: int) -> None:
    loss, raw, codes, _ = rows(1, n_classes, 30)
    found = measured(loss, 1e4 * raw, codes)
    assert all(np.isfinite(value) for value in found.as_json().values() if value is not None)
    assert found.accuracy == measured(loss, raw, codes).accuracy


def test_metrics_by_name() -> None:
    assert Metrics(3, 0.5, 0.75, None, 0.25).as_json() == {
        "rows": 3, "log_loss": 0.5, "accuracy": 0.75, "auc": None, "brier": 0.25
    }  # fmt: skip
