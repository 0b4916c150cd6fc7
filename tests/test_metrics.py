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
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score

from torchlogit.losses import Loss, loss_for
from torchlogit.metrics import Metrics, MetricSums, Ranking
from torchlogit.prediction import probabilities

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


def area_by_pairs(score: Array, positive: NDArray[np.bool_], weight: Array) -> float | None:
    """The share, by weight, of (positive, other) pairs whose scores are in order, ties one half: pair by pair."""
    up, down = positive, ~positive
    beats = (score[up][:, None] > score[down]) + 0.5 * (score[up][:, None] == score[down])
    pairs = weight[up][:, None] * weight[down]
    return float((beats * pairs).sum() / pairs.sum()) if pairs.sum() else None


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


@given(SEEDS, CLASSES, SIZES, st.booleans())
def test_the_calibration_error_is_what_its_definition_says(seed: int, n_classes: int, n: int, weighted: bool) -> None:
    loss, raw, codes, weights = rows(seed, n_classes, n)
    by = weights if weighted else np.ones(n)
    p = probabilities(raw)[:, 1:] if n_classes == 2 else probabilities(raw)
    came_true = codes[:, None] == (np.array([1]) if n_classes == 2 else np.arange(n_classes))
    errors = []
    for k in range(p.shape[1]):
        error = 0.0
        for low in range(10):
            inside = (p[:, k] >= low / 10) & ((p[:, k] < (low + 1) / 10) | (low == 9))
            error += abs((by * (p[:, k] - came_true[:, k]))[inside].sum()) / by.sum()
        errors.append(error)
    found = measured(loss, raw, codes, weights if weighted else None)
    assert found.calibration_error == pytest.approx(np.mean(errors), rel=1e-9, abs=1e-12)


def test_the_reliability_table_is_scikit_learns_calibration_curve() -> None:
    loss, raw, codes, _ = rows(0, 2, 5000)
    share, mean = calibration_curve(codes, probabilities(raw)[:, 1], n_bins=10)
    table = MetricSums.of(loss, torch.from_numpy(raw), codes).reliability
    np.testing.assert_allclose((table.observed / table.weight)[0], share, rtol=1e-12)
    np.testing.assert_allclose((table.predicted / table.weight)[0], mean, rtol=1e-12)
    assert table.weight.sum() == 5000


def test_probabilities_that_come_true_as_often_as_they_say_have_a_small_calibration_error() -> None:
    rng = np.random.default_rng(0)
    raw = 2 * rng.standard_normal((200_000, 1))
    codes = (rng.random(200_000) < probabilities(raw)[:, 1]).astype(np.int64)
    loss = loss_for(2)
    assert measured(loss, raw, codes).calibration_error < 0.005
    assert measured(loss, 2 * raw, codes).calibration_error > 0.05


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.integers(0, 3)), min_size=1, max_size=40))
def test_the_area_counts_pairs_with_ties_one_half(cases: list[tuple[int, bool, int]]) -> None:
    score, positive, weight = (np.array(part) for part in zip(*cases, strict=True))
    found = Ranking.of(score.astype(float), positive, weight.astype(float)).area()
    expected = area_by_pairs(score, positive, weight)
    if expected is None:
        assert found is None
    else:
        assert found == (pytest.approx(expected, rel=1e-12, abs=1e-12), 0.0)


SCORES = st.one_of(
    st.integers(-3, 3).map(float),  # ties
    st.floats(-20, 20),
    st.floats(-1e4, 1e4),
    st.sampled_from([-1e4, 1e4, 0.0, -0.0, 5e-324, -5e-324, 1e300, -1e300]),
    st.floats(1.0, 1.0 + 1e-9),  # many that differ in their last bits alone
)
ROWS = st.lists(st.tuples(SCORES, st.booleans(), st.sampled_from([0, 1, 2, 0.25])), min_size=1, max_size=60)


@given(ROWS, st.integers(2, 12), st.lists(st.integers(0, 60), max_size=5))
def test_the_exact_area_is_within_the_stated_error_of_the_joined_bins(
    cases: list[tuple[float, bool, float]], most: int, cuts: list[int]
) -> None:
    score, positive, weight = (np.array(part) for part in zip(*cases, strict=True))
    whole = Ranking.of(score, positive, weight, most)
    assert len(whole.least) <= most
    assert (whole.least[1:] > whole.greatest[:-1]).all()
    parts = zip(
        *(np.split(each, sorted(min(c, len(score)) for c in cuts)) for each in (score, positive, weight)), strict=True
    )
    merged = reduce(add, [Ranking.of(*part, most) for part in parts])
    for name in ("shift", "least", "greatest", "positive", "negative"):
        assert np.array_equal(getattr(merged, name), getattr(whole, name)), name
    expected = area_by_pairs(score, positive, weight)
    if expected is None:
        assert whole.area() is None
    else:
        area, error = whole.area()  # type: ignore[misc]
        assert abs(area - expected) <= error + 1e-12
        assert 0 <= error <= 0.5
        if len(np.unique(score[weight > 0] + 0.0)) <= most:
            assert error == 0


def test_a_score_that_many_rows_have_is_a_tie_in_a_joined_bin_too() -> None:
    rng = np.random.default_rng(0)
    score = np.where(rng.random(4000) < 0.5, 0.7, rng.permutation(4000) + 1000.0)
    positive = rng.random(4000) < 0.3
    found = Ranking.of(score, positive, np.ones(4000), max_bins=8)
    alone = found.least == found.greatest
    assert found.area()[1] < 0.5 * 0.25  # type: ignore[index]
    assert (found.positive + found.negative)[alone].max() == np.count_nonzero(score == 0.7)


def test_scores_all_the_same_give_one_half_exactly() -> None:
    assert Ranking.of(np.full(9, -3.5), np.arange(9) < 4, np.ones(9), max_bins=2).area() == (0.5, 0.0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_million_scores_are_ranked_within_the_stated_error(scale: float) -> None:
    """Against scikit-learn's area of all scores, sorted; a piece at a time, and few bins at any time."""
    rng = np.random.default_rng(0)
    score = scale * rng.standard_normal(1_000_000)
    positive = rng.random(len(score)) < 1 / (1 + np.exp(-score / scale))
    parts = [slice(start, start + 65_536) for start in range(0, len(score), 65_536)]
    found = Ranking.of(score[:0], positive[:0], np.ones(0))
    for part in parts:
        found += Ranking.of(score[part], positive[part], np.ones(len(score))[part])
        assert len(found.least) <= found.max_bins
    area, error = found.area()  # type: ignore[misc]
    assert abs(area - roc_auc_score(positive, score)) <= error
    assert 0 < error < 5e-5


def test_metrics_of_more_scores_than_bins_say_how_exact_the_auc_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchlogit.metrics.ranking.MAX_BINS", 1)
    for n_classes in (2, 4):
        loss, raw, codes, weights = rows(3, n_classes, 10_000)
        found, exact = measured(loss, raw, codes, weights), roc_auc(raw, codes, weights)
        assert found.auc is not None
        assert found.auc_error is not None
        assert abs(found.auc - exact) <= found.auc_error
        assert 0 < found.auc_error < 0.01


def roc_auc(raw: Array, codes: Array, weights: Array) -> float:
    if raw.shape[1] == 1:
        return float(roc_auc_score(codes, raw[:, 0], sample_weight=weights))
    return float(roc_auc_score(codes, probabilities(raw), sample_weight=weights, multi_class="ovr"))


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
    assert Metrics(3, 0.5, 0.75, None, None, 0.25, 0.125).as_json() == {
        "rows": 3, "log_loss": 0.5, "accuracy": 0.75, "auc": None, "auc_error": None, "brier": 0.25,
        "calibration_error": 0.125,
    }  # fmt: skip
