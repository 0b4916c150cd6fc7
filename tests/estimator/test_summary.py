"""LogisticRegression.summary() and .save(): what is read of a fit is in it, and is what `torchlogit inspect` shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

import torchlogit
from classification import coefficients, rows
from commands import torchlogit as command
from torchlogit import InputError, LogisticRegression, TableEncoder
from torchlogit.estimator import to_model
from torchlogit.summary import summary


def lines_of(text: str) -> dict[str, list[str]]:
    """The words of every coefficient's line, after its name, or name and class."""
    table = text.split("\n\n")[1].splitlines()[1:]
    return {line.split()[0]: line.split()[1:] for line in table}


def test_a_line_holds_coefficient_odds_ratio_and_the_errors_of_maximum_likelihood() -> None:
    X, y = rows(n=300, d=2)
    model = LogisticRegression(l2=0).fit(pd.DataFrame(X, columns=["age", "pay"]), y)
    text = model.summary()
    assert f"status       certified: {model.certificate_.message}" in text
    assert "target       0, 1\n" in text
    errors = coefficient_errors(X, coefficients(model)[0])
    values = dict(zip(["age", "pay", "(intercept)"], coefficients(model)[0], strict=True))
    found = lines_of(text)
    assert list(found) == ["(intercept)", "age", "pay"]
    for (name, value), error in zip(values.items(), errors, strict=True):
        shown = [float(word) for word in found[name]]
        z = value / error
        expected = [value, np.exp(value), error, z, 2 * norm.sf(abs(z))]
        np.testing.assert_allclose(shown, expected, rtol=0.06, atol=0.006)


def coefficient_errors(X: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """By the definition: the inverse of X' diag(p (1 - p)) X."""
    design = np.column_stack([X, np.ones(len(X))])
    p = 1 / (1 + np.exp(-design @ theta))
    return np.sqrt(np.diag(np.linalg.inv(design.T @ (design * (p * (1 - p))[:, None]))))


def test_with_a_penalty_it_says_why_there_are_no_errors() -> None:
    X, y = rows(3)
    text = LogisticRegression(l2=0.5).fit(X, np.array(["a", "b", "c"])[y]).summary()
    assert "penalty      l1 = 0, l2 = 0.5" in text
    assert "errors       not computed: a penalty or bounds bias the coefficients" in text
    assert "std. error" not in text
    assert text.split("\n\n")[1].count("(intercept)  ") == 3


def test_after_partial_fit_it_says_what_a_stream_can_say() -> None:
    text = LogisticRegression().partial_fit(*rows(n=300)).summary()
    assert "solver       StreamingNewton" in text
    assert "status       uncertifiable: log loss" in text


def test_of_many_coefficients_the_largest_are_shown() -> None:
    X = np.random.default_rng(0).standard_normal((40, 600))
    model = LogisticRegression().fit(X, X[:, 7] > 0)
    text = model.summary()
    assert text.endswith("\n... the largest 500 of 600 coefficients; coef_ holds them all")
    assert len(lines_of(text)) == 502
    least = f"x{np.abs(model.coef_[0]).argmin()}"
    assert least not in lines_of(text)
    assert "x7" in lines_of(text)


def test_what_is_saved_is_inspected_as_it_is_summarised(tmp_path: Path) -> None:
    X, y = rows(3, n=90)
    model = LogisticRegression(l2=0).fit(X, y)
    model.save(tmp_path / "one.safetensors")
    torchlogit.save(model, tmp_path / "other.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "other.safetensors").read_bytes()
    loaded = torchlogit.load(tmp_path / "one.safetensors")
    assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert command(tmp_path, "inspect", "one.safetensors").stdout == model.summary() + "\n"


def test_there_is_nothing_to_tell_of_before_a_fit(tmp_path: Path) -> None:
    for call in (LogisticRegression().summary, lambda: LogisticRegression().save(tmp_path / "m.safetensors")):
        with pytest.raises(NotFittedError):
            call()
    with pytest.raises(InputError, match=r"^taken over from torch, and not fitted"):
        LogisticRegression.from_torch(torch.nn.Linear(2, 1)).summary()
    assert list(tmp_path.iterdir()) == []


def one_hot() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"age": rng.uniform(20, 60, 300).round(1), "job": rng.choice(["clerk", "cook", "smith"], 300)})
    return table, (table["age"] / 10 + (table["job"] == "cook") + rng.logistic(size=300) > 4).astype(int).to_numpy()


def test_with_all_levels_it_shows_the_differences_between_levels() -> None:
    table, y = one_hot()
    every = pd.get_dummies(table, dtype=float)
    text = LogisticRegression(l2=0).fit(every, y).summary()
    assert "collinear    job_smith = 1 - job_clerk - job_cook\n" in text
    assert "the data determine only combinations of their coefficients: those shown are one choice of many" in text
    lines = lines_of(text)
    assert [lines[name][2:] for name in ("(intercept)", "job_clerk", "job_cook", "job_smith")] == [["-"] * 3] * 4
    treatment = LogisticRegression(l2=0).fit(every.drop(columns="job_clerk"), y).summary()
    assert lines["age"] == lines_of(treatment)["age"]
    differences = {line.split("  ")[0]: line.split()[3:] for line in text.split("\n\n")[2].splitlines()}
    assert differences["job_cook - job_clerk"] == lines_of(treatment)["job_cook"]
    assert differences["job_smith - job_clerk"] == lines_of(treatment)["job_smith"]


def test_relations_are_in_the_tables_units() -> None:
    table, y = one_hot()
    table = table.assign(fahrenheit=table["age"] * 1.8 + 32, constant=3.7)
    pipeline = make_pipeline(TableEncoder(), LogisticRegression(l2=0)).fit(table[["age", "job"]], y)
    text = summary(to_model(pipeline), elsewhere="")
    assert "collinear    job=smith = 1 - job=clerk - job=cook\n" in text
    assert "job=cook - job=clerk" in text
    both = LogisticRegression(l2=0).fit(table[["age", "fahrenheit", "constant"]], y)
    assert "collinear    fahrenheit = 32 + 1.8 age (to rounding); constant = 3.7\n" in both.summary()


def test_long_and_many_relations_are_shortened() -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, (200, 6)).astype(float)
    copies = np.column_stack([X, X.sum(axis=1), X[:, 0], -2 * X[:, 1], X[:, 2] + X[:, 3]])
    text = LogisticRegression(l2=0).fit(copies, rng.integers(0, 2, 200)).summary()
    line = next(line for line in text.splitlines() if line.startswith("collinear"))
    assert line == "collinear    x6 = x0 + x1 + x2 + x3 ... (6 columns); x7 = x0; x8 = -2 x1; and 1 more"


def test_odds_of_several_classes_are_against_their_geometric_mean() -> None:
    X, y = rows(3, n=90)
    model = LogisticRegression(l1=0.5, l2=0).fit(X, y)
    _, coefficients = to_model(model).in_original_units()
    ratios = np.array([line.odds_ratio for line in coefficients]).reshape(-1, 3)
    np.testing.assert_allclose(ratios, np.exp(model.coef_ - model.coef_.mean(axis=0)).T)
    assert "odds to mean" in model.summary()
    assert "e^coefficient: of a class against the geometric mean of all classes" in model.summary()


def test_relations_of_columns_far_from_zero() -> None:
    rng = np.random.default_rng(0)
    seconds = 1.7e9 + rng.uniform(0, 3e4, 200)
    X = np.column_stack([seconds, seconds / 1000, seconds - 1.7e9])
    line = LogisticRegression(l2=0).fit(X, rng.integers(0, 2, 200)).summary().splitlines()[7]
    assert line == "collinear    x1 = 0.001 x0 (to rounding); x2 = -1700000000 + x0 (to rounding)"
