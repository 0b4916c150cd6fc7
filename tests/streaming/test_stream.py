"""The loop over a stream, and what it says: progressive validation, its standard error, its AUC, real streams."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from pyarrow import csv
from scipy.signal import lfilter
from sklearn.metrics import roc_auc_score

from places import DATA
from torchlogit import LogisticRegression
from torchlogit.errors import InputError
from torchlogit.penalties import ElasticNet
from torchlogit.records import Status
from torchlogit.streaming.loop import StreamBlock, StreamProgress, stream
from torchlogit.streaming.newton import StreamingNewton
from torchlogit.streaming.progressive import WINDOW, ProgressiveSums
from torchlogit.streaming.scale_free import ScaleFree

Array = NDArray[np.float64]
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the shared data folder at {DATA}")


def blocks(n: int = 1000, size: int = 300, seed: int = 0) -> Iterator[StreamBlock]:
    random = np.random.default_rng(seed)
    X = random.standard_normal((n, 3))
    y = (X @ [1.0, -1.0, 0.5] + random.logistic(size=n) > 0).astype(float)[:, None]
    for start in range(0, n, size):
        yield X[start : start + size], y[start : start + size], None


def test_the_result_and_what_it_says() -> None:
    seen: list[StreamProgress] = []
    result = stream(blocks(12_000), StreamingNewton().begin(3, 2, ElasticNet(l2=1.0)), monitors=[seen.append])
    assert [passed.rows for passed in seen] == [*range(300, 12_001, 300)]
    assert seen[-1].progressive == result.progressive
    assert result.certificate.status is Status.UNCERTIFIABLE
    assert result.certificate.bound is None
    assert result.certificate.objective == pytest.approx(result.progressive.log_loss * 12_000)
    assert result.excess is not None
    assert 0.5 < result.excess * 2 * 12_000 / 4 < 2  # trace(H^-1 S) is the number of coefficients, here
    np.testing.assert_allclose(result.params.coef[:, 0], [1.0, -1.0, 0.5], atol=0.1)
    said = result.certificate.message
    assert "12,000 rows, each read once and predicted before that" in said
    assert "(statistical, not proven)" in said


def test_a_monitor_ends_it_and_it_goes_on() -> None:
    source, moving = blocks(), StreamingNewton().begin(3, 2, ElasticNet(l2=1.0))
    first = stream(source, moving, monitors=[lambda passed: passed.rows >= 600])
    assert first.progressive.rows == 600
    second = stream(source, moving)
    whole = stream(blocks(), StreamingNewton().begin(3, 2, ElasticNet(l2=1.0)))
    assert second.progressive == whole.progressive
    assert second.params.coef.tolist() == whole.params.coef.tolist()


def test_an_interrupt_leaves_what_there_is() -> None:
    def interrupted(after: int) -> Iterator[StreamBlock]:
        for i, block in enumerate(blocks()):
            if i == after:
                raise KeyboardInterrupt
            yield block

    assert stream(interrupted(2), ScaleFree().begin(3, 2, ElasticNet(l2=1.0))).progressive.rows == 600
    with pytest.raises(KeyboardInterrupt):
        stream(interrupted(0), ScaleFree().begin(3, 2, ElasticNet(l2=1.0)))


def test_an_empty_stream_is_refused() -> None:
    with pytest.raises(InputError, match=r"^the stream held no row of positive weight: .*; check the source$"):
        stream([], StreamingNewton().begin(3, 2, ElasticNet(l2=1.0)))


# -- progressive sums ------------------------------------------------------------------------------------------


def summed(loss: Array, raw: Array, y: Array, weight: Array, unit: int = 50) -> ProgressiveSums:
    sums = ProgressiveSums()
    for start in range(0, len(loss), unit):
        part = slice(start, start + unit)
        sums.add(y[part], weight[part], raw[part], loss[part], loss[part] + 0.25)
    return sums


def test_means_accuracy_and_auc() -> None:
    random = np.random.default_rng(0)
    raw, weight = 2 * random.standard_normal((5000, 1)), random.integers(0, 3, 5000).astype(float)
    y = (random.random((5000, 1)) < 1 / (1 + np.exp(-raw))).astype(float)
    loss = np.logaddexp(0, -(2 * y - 1) * raw)[:, 0]
    found = summed(loss, raw, y, weight).result()
    assert (found.rows, found.weight) == (5000, weight.sum())
    assert found.log_loss == pytest.approx(np.average(loss, weights=weight))
    assert found.accuracy == pytest.approx(np.average((raw > 0) == (y == 1), axis=0, weights=weight)[0])
    assert found.auc == pytest.approx(roc_auc_score(y, raw, sample_weight=weight), abs=1e-3)
    assert found.log_loss_error is not None
    exact = np.sqrt((weight**2 * (loss - found.log_loss) ** 2).sum()) / weight.sum()
    assert exact * 0.8 < found.log_loss_error < exact * 2


def test_the_recent_log_loss_follows() -> None:
    loss = np.repeat([1.0, 3.0], 4 * WINDOW)
    zeros = np.zeros((len(loss), 1))
    found = summed(loss, zeros, zeros, np.ones(len(loss)), unit=256).result()
    assert found.log_loss == 2.0
    assert 2.95 < found.recent_log_loss < 3.0


def test_the_error_is_that_of_losses_that_go_together() -> None:
    """Losses with a memory of about 400 rows, ten times over: the error covers what the means really do."""
    random, means, errors = np.random.default_rng(1), [], []
    for _ in range(30):
        loss = lfilter([1.0], [1.0, -np.exp(-1 / 200)], random.standard_normal(100 * 400))
        zeros = np.zeros((len(loss), 1))
        found = summed(loss, zeros, zeros, np.ones(len(loss)), unit=200).result()
        means.append(found.log_loss)
        errors.append(found.log_loss_error)
    naive = np.std(loss) / np.sqrt(len(loss))
    assert np.std(means) > 8 * naive
    assert 0.7 * np.std(means) < np.mean(errors) < 2 * np.std(means)


def test_several_classes_have_an_accuracy_and_no_auc() -> None:
    raw = np.array([[0.0, 1.0, 2.0], [3.0, 1.0, 2.0]])
    found = summed(np.ones(2), raw, np.array([[0.0, 0.0, 1.0], [0.0, 0.5, 0.5]]), np.ones(2)).result()
    assert (found.accuracy, found.auc) == (0.5, None)


# -- real streams ----------------------------------------------------------------------------------------------


def numbers(path: str) -> Array:
    table = csv.read_csv(DATA / path)
    return np.column_stack([column.to_numpy() for column in table.columns]).astype(np.float64)


@needs_data
@pytest.mark.data
def test_a_drifting_stream_is_followed() -> None:
    """Electricity prices in time order; river's scaled logistic regression: .4162 on the same rows."""
    values = numbers("elec/elec.csv")
    parts = ((values[i : i + 5000, :-1], values[i : i + 5000, -1:], None) for i in range(0, len(values), 5000))
    result = stream(parts, StreamingNewton().begin(6, 2, ElasticNet(l2=1.0)))
    assert result.progressive.rows == 45_312
    assert result.progressive.log_loss < 0.28  # .2574
    assert result.progressive.accuracy > 0.88  # .9049
    stationary = StreamingNewton(windows=(), rates=()).begin(6, 2, ElasticNet(l2=1.0))
    stationary.learn(values[:, :-1], values[:, -1:])
    assert stationary.answer().progressive.log_loss > 0.5  # which is what following is for


@pytest.mark.slow
@needs_data
@pytest.mark.data
def test_one_pass_over_cover_types_ends_within_the_statistical_error() -> None:
    """A tenth of them, in random order, so that the test is quick."""
    values = numbers("covtype/covtype.csv.gz")
    values = values[np.random.default_rng(0).permutation(len(values))[:50_000]]
    X, y = values[:, :-1], (values[:, -1] == 1).astype(float)
    scale = X.std(axis=0)
    X = ((X - X.mean(axis=0)) / np.where(scale > 0, scale, 1)).astype(np.float32)
    found = stream([(X, y[:, None], None)], StreamingNewton().begin(54, 2, ElasticNet(l2=1.0)))
    best = LogisticRegression().fit(X, y)

    def objective(coef: Array, intercept: float) -> float:
        z = X @ coef + intercept
        return float(np.logaddexp(0, -(2 * y - 1) * z).sum() + 0.5 * coef @ coef)

    least = objective(best.coef_[0], float(best.intercept_[0]))
    excess = objective(found.params.coef[:, 0].numpy(), float(found.params.intercept[0])) - least
    assert 0 <= excess < 55 / 2
    assert found.excess is not None
    assert 0.4 < found.excess * 2 * 50_000 / 55 < 1.5
    assert found.progressive.log_loss < least / 50_000 + 0.01
