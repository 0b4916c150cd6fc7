"""What must not change an answer does not: every change of `benchmarks.invariances`, over random problems.

Two tolerances, both from the certificates and neither chosen. F at both answers lies between the minimum and what their
bounds allow. And to second order F - min F is half the squared distance in the metric of F's Hessian: two answers with
bounds b and c are not further apart than sqrt(2 b) + sqrt(2 c).
"""

from __future__ import annotations

import math
import pickle
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import logsumexp, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline

import torchlogit
from benchmarks.invariances import CHANGES, NotApplicableError, Table
from classification import coefficients
from commands import torchlogit as command
from profiles import examples
from torchlogit import LogisticRegression, Status, TableEncoder
from torchlogit.records import Certificate

Array = NDArray[np.float64]
SECOND_ORDER = 1.1  # the Hessian changes along the way: by less than a tenth where the answers are this close
ROUNDING = 1e-11  # of F: what float64 may lose in the sums of a changed table, and in mapping its answer back


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Random problems: two classes or several, columns of several kinds, whole weights, any penalty."""
    n, p = draw(st.integers(8, 120)), draw(st.integers(1, 6))
    n_classes = draw(st.integers(2, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = {
        "normal": lambda: rng.standard_normal(n),
        "ones": lambda: (rng.random(n) < 0.3).astype(float),
        "counts": lambda: rng.poisson(0.5, n).astype(float),
        "tails": lambda: np.exp(rng.standard_normal(n)),
    }
    X = np.column_stack([kinds[draw(st.sampled_from(sorted(kinds)))]() for _ in range(p)])
    X = X.astype(np.float32).astype(np.float64)  # so that nothing is lost in float32
    y = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n - n_classes)])
    weight = np.where(np.arange(n) < n_classes, 1.0, rng.integers(0, 4, n)) if draw(st.booleans()) else np.ones(n)
    l1, l2 = draw(
        st.sampled_from([(0.0, 1.0), (0.0, 0.01), (0.0, 30.0), (0.5, 0.0), (0.5, 1.0), (3.0, 0.1), (0.0, 0.0)])
    )
    factors = rng.uniform(0.2, 5, p) if draw(st.booleans()) else np.ones(p)
    return Table(X, y, weight, l1, l2, factors)


def fitted(table: Table, tol: float, **settings: Any) -> LogisticRegression:
    """Certified, or separated."""
    model = LogisticRegression(l1=table.l1, l2=table.l2, penalty_factors=table.factors, tol=tol, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if free(table) else "error", ConvergenceWarning)
        return model.fit(table.X, table.y, table.weight)


def free(table: Table) -> bool:
    """Without a penalty random classes may be separated."""
    return table.l1 == 0 and table.l2 == 0


def raw_of(table: Table, theta: Array) -> Array:
    raw = table.X @ theta[:, :-1].T + theta[:, -1]
    return np.column_stack([np.zeros(len(raw)), raw]) if raw.shape[1] == 1 else raw


def objective(table: Table, theta: Array) -> float:
    """F by its definition."""
    raw = raw_of(table, theta)
    losses = logsumexp(raw, axis=1) - raw[np.arange(len(raw)), table.y]
    coef = theta[:, :-1]
    penalties = table.factors * (table.l1 * np.abs(coef) + table.l2 / 2 * coef**2)
    return math.fsum(table.weight * losses) + math.fsum(penalties.ravel())


def distance(table: Table, theta: Array, other: Array) -> float:
    """The length of other - theta in the metric of F's Hessian at theta: the losses' curvature, and l2."""
    step, p = other - theta, softmax(raw_of(table, theta), axis=1)
    moved = raw_of(table, step)
    centred = moved - (p * moved).sum(axis=1, keepdims=True)
    curved = table.weight @ (p * centred**2).sum(axis=1)
    return math.sqrt(curved + table.l2 * (table.factors * step[:, :-1] ** 2).sum())


def check_same_answer(table: Table, one: LogisticRegression, theta: Array, certificate: Certificate) -> None:
    """theta, with its certificate, is the answer to this table that `one` is: as far as both bounds allow."""
    assert one.certificate_.status is certificate.status is Status.CERTIFIED
    first, second = one.certificate_, certificate
    assert first.bound is not None
    assert second.bound is not None
    here, there = objective(table, coefficients(one)), objective(table, theta)
    rounding = ROUNDING * (1 + here)
    assert abs(here - first.objective) <= rounding
    assert -first.bound - rounding <= there - here <= second.bound + rounding
    allowed = math.sqrt(2 * (first.bound + rounding)) + math.sqrt(2 * (second.bound + rounding))
    assert distance(table, coefficients(one), theta) <= SECOND_ORDER * allowed


def check_change(name: str, table: Table, tol: float, seed: int) -> None:
    """The answers to a table and to the changed one are each other's."""
    try:
        changed, back = CHANGES[name](table, np.random.default_rng(seed))
    except NotApplicableError:
        return
    one, other = fitted(table, tol), fitted(changed, tol)
    if one.certificate_.status is Status.SEPARATED:
        assert free(table)
        assert other.certificate_.status is Status.SEPARATED
        assert other.certificate_.separation.complete == one.certificate_.separation.complete
        return
    found = other.certificate_
    scale = (
        changed.l2 / table.l2 if table.l2 else changed.l1 / table.l1 if table.l1 else _total(changed) / _total(table)
    )
    certificate = replace(found, objective=found.objective / scale, bound=found.bound / scale)
    check_same_answer(table, one, back(coefficients(other)), certificate)


def check_start(table: Table, tol: float, seed: int, size: float) -> None:
    """A warm start of any size ends where no start does."""
    one = fitted(table, tol)
    if one.certificate_.status is Status.SEPARATED:
        return
    other = fitted(table, 0.1, warm_start=True)
    rng = np.random.default_rng(seed)
    other.coef_ = size * rng.standard_normal(other.coef_.shape)
    other.intercept_ = size * rng.standard_normal(other.intercept_.shape)
    other.set_params(tol=tol).fit(table.X, table.y, table.weight)
    check_same_answer(table, one, coefficients(other), other.certificate_)


def _total(table: Table) -> float:
    return float(table.weight.sum())


tolerances = st.sampled_from([1e-6, 1e-10])
seeds = st.integers(0, 2**32 - 1)
sizes = st.sampled_from([0.1, 3.0, 100.0, 1e5])


@pytest.mark.parametrize("name", CHANGES)
@examples(12)
@given(table=tables(), tol=tolerances, seed=seeds)
def test_a_change_that_means_nothing_changes_nothing(name: str, table: Table, tol: float, seed: int) -> None:
    check_change(name, table, tol, seed)


@examples(15)
@given(table=tables(), tol=tolerances, seed=seeds, size=sizes)
def test_wherever_it_starts_it_ends_in_the_same_place(table: Table, tol: float, seed: int, size: float) -> None:
    check_start(table, tol, seed, size)


@pytest.mark.parametrize(("coef", "intercept"), [(1000.0, 0.0), (1000.0, 3.0), (700.0, 100.0)])
def test_a_start_at_which_every_row_is_certain_is_left(coef: float, intercept: float) -> None:
    """F there is below that of no coefficients, and the Hessian of the losses is zero to the last digit."""
    x = np.where(np.arange(2000) % 2 == 0, 1.0, -1.0)
    y = (x > 0).astype(int)
    y[0] = 0
    table = Table(x[:, None], y, np.ones(2000), 0.0, 1e-4, np.ones(1))
    assert objective(table, np.array([[coef, intercept]])) < objective(table, np.zeros((1, 2)))
    one, other = fitted(table, 1e-6), fitted(table, 1e-6, warm_start=True)
    other.coef_, other.intercept_ = np.array([[coef]]), np.array([intercept])
    other.fit(table.X, table.y)
    check_same_answer(table, one, coefficients(other), other.certificate_)


@examples(10)
@given(table=tables(), tol=tolerances)
def test_again_and_pickled_are_the_same_bits(table: Table, tol: float) -> None:
    one = fitted(table, tol)
    for other in (fitted(table, tol), pickle.loads(pickle.dumps(one))):
        np.testing.assert_array_equal(coefficients(other), coefficients(one))
        np.testing.assert_array_equal(other.predict_proba(table.X), one.predict_proba(table.X))
        assert other.certificate_ == one.certificate_


@examples(15)
@given(table=tables(), data=st.data())
def test_how_rows_are_cut_up_for_partial_fit_changes_no_bit(table: Table, data: st.DataObject) -> None:
    table = replace(table, l1=0.0, weight=np.maximum(table.weight, 1.0))
    names = st.lists(st.integers(1, len(table.y) - 1), unique=True, max_size=8)
    cuts, is_sparse = sorted(data.draw(names)), data.draw(st.booleans())
    classes = np.arange(table.n_classes)
    whole, parts = (LogisticRegression(l2=table.l2, penalty_factors=table.factors) for _ in range(2))
    whole.partial_fit(table.X, table.y, sample_weight=table.weight)
    for part in np.split(np.arange(len(table.y)), cuts):
        X = sparse.csr_array(table.X[part]) if is_sparse else table.X[part]
        parts.partial_fit(X, table.y[part], classes=classes, sample_weight=table.weight[part])
    np.testing.assert_array_equal(coefficients(parts), coefficients(whole))
    np.testing.assert_array_equal(parts.predict_proba(table.X), whole.predict_proba(table.X))
    assert parts.certificate_ == whole.certificate_
    assert parts.training_data_ == whole.training_data_


@pytest.mark.parametrize("shape", [(3000, 5), (70_000, 30)])
def test_two_threads_find_what_one_finds(shape: tuple[int, int]) -> None:
    """On rows that a thread can do alone, and on so many that the compiled loops share them."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal(shape)
    y = (rng.random(len(X)) < 1 / (1 + np.exp(-X[:, 0] + X[:, 1]))).astype(int)
    table = Table(X, y, np.ones(len(y)), 0.0, 1.0, np.ones(shape[1]))
    models = []
    for count in (1, 2, 2):
        torch.set_num_threads(count)
        models.append(fitted(table, 1e-10))
    one, two, again = models
    check_same_answer(table, one, coefficients(two), two.certificate_)
    np.testing.assert_array_equal(coefficients(again), coefficients(two))


@st.composite
def frames(draw: st.DrawFn) -> tuple[pd.DataFrame, list[str]]:
    """Random tables of numbers and levels, some of them missing, and their target."""
    n = draw(st.integers(20, 80))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = {
        "number": lambda: np.round(rng.standard_normal(n) * 100, 3),
        "whole": lambda: rng.integers(0, 50, n),
        "level": lambda: rng.choice(["red", "green", "dark blue", "é"], n),
        "gaps": lambda: np.where(rng.random(n) < 0.2, np.nan, rng.standard_normal(n)),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=4))
    names = ["no", "yes", "perhaps"][: draw(st.integers(2, 3))]
    target = [*names, *rng.choice(names, n - len(names)).tolist()]
    return pd.DataFrame({f"{kind}{place}": kinds[kind]() for place, kind in enumerate(chosen)}), target


@examples(8)
@given(drawn=frames(), l2=st.sampled_from([0.1, 1.0, 10.0]))
def test_python_and_the_command_line_give_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[pd.DataFrame, list[str]], l2: float
) -> None:
    frame, target = drawn
    folder: Path = tmp_path_factory.mktemp("line")
    frame.assign(answer=target).to_csv(folder / "rows.csv", index=False)
    ended = command(folder, "train", "rows.csv", "--target", "answer", "--l2", str(l2), "--quiet")
    assert (ended.code, ended.stderr) == (0, "")
    pipeline = make_pipeline(TableEncoder(), LogisticRegression(l2=l2)).fit(frame, target)
    torchlogit.save(pipeline, folder / "library.safetensors", target="answer")
    assert (folder / "library.safetensors").read_bytes() == (folder / "rows.safetensors").read_bytes()
