"""Raw predictions and probabilities without torch: against plain products and scipy, the same bits in any pieces."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.special import expit, softmax

from torchlogit import prediction
from torchlogit.prediction import MAX_ROWS, likeliest, probabilities, probability_of, raw_prediction

SHAPES = [(1, 1), (1, 30), (3, 5), (255, 30), (257, 30), (5000, 30), (20_001, 3), (70, 9000), (0, 4)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_raw_prediction_is_the_product_in_float64(shape: tuple[int, int], outputs: int, dtype: type) -> None:
    rng = np.random.default_rng(0)
    features = (3 * rng.standard_normal(shape)).astype(dtype)
    coef, intercept = rng.standard_normal((shape[1], outputs)), rng.standard_normal(outputs)
    expected = features.astype(np.float64) @ coef + intercept
    for each in (features, np.asfortranarray(features), csr_array(features)):
        found = raw_prediction(each, coef, intercept)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(probability_of(features, coef, intercept), probabilities(expected), atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 40), (3, 9), (50, 4), (300, 300)], ids=str)
def test_the_layout_of_coef_in_memory_changes_no_bit(shape: tuple[int, int]) -> None:
    """The estimator holds coef transposed, the model file does not."""
    rng = np.random.default_rng(0)
    features, coef = rng.standard_normal(shape, dtype=np.float32), rng.standard_normal((shape[1], 3))
    raws = [raw_prediction(features, each, np.zeros(3)) for each in (coef, np.asfortranarray(coef))]
    np.testing.assert_array_equal(*raws)


@pytest.mark.parametrize("outputs", [1, 3])
def test_pieces_and_threads_give_the_same_bits(outputs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((3 * MAX_ROWS + 77, 17), dtype=np.float32)
    coef, intercept = rng.standard_normal((17, outputs)), rng.standard_normal(outputs)
    whole = raw_prediction(features, coef, intercept)
    parts = [features[start : start + MAX_ROWS] for start in range(0, len(features), MAX_ROWS)]
    assert np.array_equal(np.concatenate([raw_prediction(part, coef, intercept) for part in parts]), whole)
    monkeypatch.setattr(prediction, "THREADED_VALUES", 1)
    monkeypatch.setattr(pa, "cpu_count", lambda: 3)
    assert np.array_equal(raw_prediction(features, coef, intercept), whole)
    assert np.array_equal(probability_of(features, coef, intercept), probabilities(whole))


@pytest.mark.parametrize("rows", [1, 3, 50])
@pytest.mark.parametrize("columns", [7, 20, 30])
def test_the_order_in_which_coefficients_lie_in_memory_changes_no_bit(rows: int, columns: int) -> None:
    """An estimator's coefficients, transposed, and those of its model file."""
    rng = np.random.default_rng(0)
    features, coef = rng.standard_normal((rows, columns)), rng.standard_normal((columns, 3))
    by_row = raw_prediction(features, coef, np.zeros(3))
    assert np.array_equal(raw_prediction(features, np.asfortranarray(coef), np.zeros(3)), by_row)


@given(st.lists(st.one_of(st.floats(-1e4, 1e4), st.floats(-40, 40)), min_size=1, max_size=20))
def test_two_probabilities_are_the_logistic_functions(logits: list[float]) -> None:
    raw = np.array(logits)[:, None]
    found = probabilities(raw)
    np.testing.assert_allclose(found, np.hstack([expit(-raw), expit(raw)]), rtol=1e-14, atol=1e-307)
    assert np.array_equal(found[:, 1] > found[:, 0], likeliest(raw) == 1) or (np.abs(raw) < 1e-15).any()


@given(st.integers(2, 6), st.integers(0, 2**32 - 1), st.sampled_from([1.0, 100.0, 1e4]))
def test_several_probabilities_are_the_softmax(n_classes: int, seed: int, scale: float) -> None:
    raw = scale * np.random.default_rng(seed).standard_normal((9, n_classes))
    found = probabilities(raw)
    np.testing.assert_allclose(found, softmax(raw, axis=1), rtol=1e-13, atol=1e-307)
    assert np.array_equal(likeliest(raw), raw.argmax(axis=1))


def test_a_logit_of_zero_is_the_first_class() -> None:
    assert likeliest(np.array([[0.0], [1e-300], [-1e-300]])).tolist() == [0, 1, 0]
    assert probabilities(np.array([[0.0]])).tolist() == [[0.5, 0.5]]
