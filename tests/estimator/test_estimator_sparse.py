"""LogisticRegression on sparse tables: the dense answers, and nothing copied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

import torchlogit
from classification import coefficients
from torchlogit import InputError, LogisticRegression, Status
from torchlogit.design import Sparse

Array = NDArray[np.float64]


def scarce_table(n: int = 200, d: int = 6) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.3)
    return x, rng.integers(0, 3, n)


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")  # torch says of CSR that it is in beta
@pytest.mark.parametrize("form", ["csr_array", "csc_matrix", "coo_array", "torch csr", "torch coo"])
def test_sparse_tables_give_the_dense_answers(form: str) -> None:
    x, y = scarce_table()
    made = {
        "torch csr": lambda: torch.from_numpy(x).to_sparse_csr(),
        "torch coo": lambda: torch.from_numpy(x).to_sparse(),
    }
    sparse: Any = made[form]() if form in made else getattr(scipy.sparse, form)(x)
    ours, theirs = LogisticRegression(tol=1e-10).fit(sparse, y), LogisticRegression(tol=1e-10).fit(x, y)
    assert ours.certificate_.status is Status.CERTIFIED
    assert ours.n_features_in_ == 6
    assert coefficients(ours) == pytest.approx(coefficients(theirs), abs=1e-4)
    assert ours.decision_function(sparse) == pytest.approx(ours.decision_function(x), abs=1e-12)
    assert ours.predict_proba(sparse) == pytest.approx(ours.predict_proba(x), abs=1e-12)
    assert (ours.predict(sparse) == ours.predict(x)).all()
    assert ours.score(sparse, y) == ours.score(x, y)


def test_a_sparse_table_with_probabilities_weights_and_an_offset() -> None:
    x, y = scarce_table()
    rng = np.random.default_rng(1)
    share, weight, offset = rng.random(len(y)), rng.integers(0, 4, len(y)).astype(float), rng.standard_normal(len(y))
    ours, theirs = (
        LogisticRegression(tol=1e-10).fit(table, share, sample_weight=weight, offset=offset)
        for table in (scipy.sparse.csr_array(x), x)
    )
    assert coefficients(ours) == pytest.approx(coefficients(theirs), abs=1e-4)
    again = ours.set_params(warm_start=True).fit(scipy.sparse.csr_array(x), share, sample_weight=weight, offset=offset)
    assert again.certificate_.status is Status.CERTIFIED


def test_the_columns_that_separate_are_named_in_sparse_tables_too() -> None:
    x, y = scarce_table()
    x[:, 2] = (y == 1) * 2
    for table in (x, scipy.sparse.csr_array(x)):
        with pytest.warns(ConvergenceWarning, match=r"told apart perfectly by .*x2"):
            LogisticRegression(l2=0).fit(table, y == 1)


def test_a_sparse_column_far_from_zero_is_centred_where_it_has_every_value() -> None:
    """Seconds since 1970, stored as a sparse column; and with one row of weight zero that has none."""
    rng = np.random.default_rng(0)
    x = np.column_stack([1.6e9 + rng.integers(0, 10**5, 300), rng.random(300) < 0.2]).astype(float)
    y = (rng.random(300) < 1 / (1 + np.exp(-(x[:, 0] - 1.6e9 - 5e4) / 3e4))).astype(int)
    ours, theirs = (LogisticRegression(l2=0).fit(table, y) for table in (scipy.sparse.csr_array(x), x))
    assert ours.certificate_.status is theirs.certificate_.status is Status.CERTIFIED
    assert ours.coef_ == pytest.approx(theirs.coef_, rel=1e-2)
    x[0, 0], weight = 0.0, np.ones(300)
    weight[0] = 0
    assert LogisticRegression().fit(scipy.sparse.csr_array(x), y, sample_weight=weight)._fitted.center is None


def test_rows_in_csr_form_are_left_as_they_were_and_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = scarce_table()
    for dtype in (np.float32, np.float64):
        table = scipy.sparse.csr_array(x.astype(dtype))
        kept, seen = table.data.copy(), []
        made = Sparse.of
        with monkeypatch.context() as patch:
            patch.setattr(
                Sparse,
                "of",
                lambda m, *, intercept, made=made, seen=seen: seen.append(m) or made(m, intercept=intercept),
            )
            LogisticRegression().fit(table, y)
        assert np.shares_memory(seen[0].data, table.data)
        assert (table.data == kept).all()


def test_sparse_tables_stay_on_the_cpu() -> None:
    x, y = scarce_table()
    with pytest.raises(InputError, match="X is sparse, which only the CPU takes"):
        LogisticRegression(device="meta").fit(scipy.sparse.csr_array(x), y)


def test_a_model_of_a_sparse_table_is_saved(tmp_path: Path) -> None:
    x, y = scarce_table()
    fitted = LogisticRegression().fit(scipy.sparse.csr_array(x), y)
    torchlogit.save(fitted, tmp_path / "model.safetensors")
    loaded = torchlogit.load(tmp_path / "model.safetensors")
    assert (loaded.coef == fitted.coef_.T).all()
