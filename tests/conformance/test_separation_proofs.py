"""Separation is claimed exactly where it is, and what goes to infinity is named exactly where it does.

The truth comes from all extreme rays of the cone of separating directions, in rational arithmetic
(reference/recession.py). Ties, near ties of 1e-9, outliers of 1e11, shares, units and weights from 1e-12 are all exact.
"""

from __future__ import annotations

import csv
import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from attack.overlap import overlap
from places import DATA
from reference.recession import recession
from torchlogit import LogisticRegression
from torchlogit.design import Dense
from torchlogit.exact import alternative, combination, null_vector, signs
from torchlogit.losses import loss_for
from torchlogit.model import LogisticModel
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Certificate, Separation, Status
from torchlogit.separation import find_separation

Array = NDArray[np.float64]
REFERENCES = DATA / "peers" / "references.json"


def found_in(x: Array, target: Array, weight: Array | None = None, *, intercept: bool = True) -> Separation | None:
    weights = None if weight is None else torch.tensor(weight)
    rows = Dense.of(torch.tensor(x), intercept=intercept)
    loss = loss_for(max(2, target.shape[1]))
    objective = Objective.of(rows, torch.tensor(target), loss=loss, penalty=ElasticNet(), weight=weights).conditioned()
    return find_separation(objective, torch.zeros(target.shape, dtype=torch.float64))


def fitted(X: Any, y: Any, **arguments: Any) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LogisticRegression(l2=0).fit(np.asarray(X, dtype=float), np.asarray(y), **arguments)


def separation_of(X: Any, y: Any, **arguments: Any) -> Separation:
    certificate: Certificate = fitted(X, y, **arguments).certificate_
    assert certificate.status is Status.SEPARATED, certificate
    assert certificate.separation is not None
    return certificate.separation


# -- against all extreme rays ------------------------------------------------------------------------------------


def random_table(seed: int) -> tuple[Array, Array, Array, bool]:
    """x, target, weight, and whether there is an intercept."""
    r = np.random.default_rng(seed)
    classes = int(r.choice([2, 2, 2, 3]))
    d, n = int(r.integers(1, 4 if classes == 2 else 2)), int(r.integers(3, 13 if classes == 2 else 10))
    intercept = bool(r.integers(2)) or d == 1
    x = r.integers(-2, 3, (n, d)).astype(float)
    kind = r.choice(["integers", "near ties", "outliers", "normal", "near ties and outliers", "units"])
    if kind.startswith("near"):
        x += r.choice([0, 0, 1e-9, -1e-9, 1e-6], (n, d))
    if kind.endswith("outliers"):
        x[r.random(n) < 0.2, int(r.integers(d))] = r.choice([1e11, -1e11, 99999999999, 1e6])
    if kind == "normal":
        x = r.normal(size=(n, d))
    if kind == "units":
        x = x * 10.0 ** r.integers(-8, 9, d) + r.choice([0, 1, 100]) * 10.0 ** r.integers(-3, 3)
    raw = x @ r.integers(-2, 3, (d, classes)) + r.integers(-1, 2, classes) * intercept
    best, how = raw == raw.max(axis=1, keepdims=True), r.choice(["rule", "random", "one row astray"])
    y = (best * r.random(best.shape)).argmax(axis=1)
    if how == "random":
        y = r.integers(0, classes, n)
    if how == "one row astray":
        y[r.integers(n)] = r.integers(classes)
    target = np.eye(classes)[y]
    for i in np.flatnonzero(r.random(n) < r.choice([0.0, 0.0, 0.4])):
        shares = (r.random(classes) < 0.6 if how == "random" else best[i]) * r.dirichlet(np.ones(classes))
        target[i] = shares / shares.sum() if shares.sum() > 0 else target[i]
    weight = 10.0 ** r.integers(-12, 1, n) if r.random() < 0.3 else np.ones(n)
    return x, target if classes > 2 else target[:, 1:], weight, intercept


def check_against_the_rays(seed: int) -> bool:
    """Whether the table is separated, as far as that is known."""
    x, target, weight, intercept = random_table(seed)
    rows = np.column_stack([x, np.ones(len(x))]) if intercept else x
    truth, found = recession(rows.tolist(), target.tolist()), found_in(x, target, weight, intercept=intercept)
    if not truth.independent:
        return False
    assert (found is not None) == truth.separated, seed
    if found is not None:
        named = {*found.directions, *((x.shape[1], output, sign) for output, sign in found.intercepts)}
        assert (found.complete, named) == (truth.complete, truth.signs), seed
    return truth.separated


def test_claims_are_the_truth_in_exact_arithmetic() -> None:
    assert 30 < sum(check_against_the_rays(seed) for seed in range(60)) < 60


@pytest.mark.slow
def test_claims_are_the_truth_in_exact_arithmetic_thousands() -> None:
    for seed in range(60, 3000):
        check_against_the_rays(seed)


@pytest.mark.parametrize("seed", range(12))
def test_many_columns_are_separated_exactly_where_they_are(seed: int) -> None:
    """More columns than are solved for in integers: HiGHS finds the direction, and it is made exact."""
    r = np.random.default_rng(seed)
    x = r.integers(-1, 2, (40, 13)).astype(float)
    x[r.random(40) < 0.1, 3] = 1e11
    raw = x[:, [0, 1, 2]] @ [1.0, 1.0, -1.0]
    y = np.where(raw == 0, r.integers(0, 2, 40), raw > 0).astype(float)
    if seed % 2:
        y = np.where(r.random(40) < 0.3, r.integers(0, 2, 40), y).astype(float)
    target = y[:, None]
    ones = np.column_stack([x, np.ones(40)])
    assert (found_in(x, target) is None) == overlap(ones, target, np.zeros(14, dtype=np.int64))


# -- examples that went wrong --------------------------------------------------------------------------------------


def test_classes_that_overlap_by_1e_9_are_not_separated() -> None:
    x = np.array([[0], [0.5], [1 + 1e-9], [1], [1.5], [2]])
    y = np.array([0.0, 0, 0, 1, 1, 1])[:, None]
    assert found_in(x, y) is None
    assert found_in(x, y[[0, 1, 3, 2, 4, 5]]) is not None
    assert found_in(x, np.array([[0.0], [0], [1], [0], [1], [1]])) == Separation(True, ((0, 0, 1),), ((0, -1),))


@pytest.mark.parametrize("seed", range(10))
def test_missing_values_coded_99999999999_do_not_separate(seed: int) -> None:
    r = np.random.default_rng(seed)
    age, y = r.integers(18, 81, 200).astype(float), (r.random(200) < 0.4).astype(float)
    age[:5], y[:5] = 99999999999, 1
    assert found_in(age[:, None], y[:, None]) is None


def test_one_outlier_does_not_separate() -> None:
    x = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 1e11])[:, None]
    y = np.array([0, 1, 0, 1, 0, 1, 1, 0, 1])
    assert found_in(x, y[:, None].astype(float)) is None
    model = fitted(x, y)
    assert model.certificate_.status is not Status.SEPARATED
    assert model.coef_[0, 0] == pytest.approx(0.0959, abs=5e-5)


def test_proportions_are_separated_where_their_counts_are() -> None:
    X, y, weight = [[0, 0], [1, 0], [0, 1], [1, 1]], [0.3, 0, 0.6, 0], [10, 10, 10, 12]
    assert separation_of(X, y, sample_weight=weight) == Separation(False, ((0, 0, -1),))


def test_shares_with_an_empty_cell_are_separated() -> None:
    found = separation_of([[0], [1]], [[0.5, 0.3, 0.2], [0.5, 0.5, 0]], sample_weight=[10, 10])
    assert (0, 2, -1) in found.directions
    assert not found.complete


def test_a_row_of_weight_1e_12_counts_in_full() -> None:
    x, y = np.array([[1.0], [2], [3], [4], [5]]), np.array([[0.0], [0], [1], [1], [0]])
    assert found_in(x, y, np.array([1.0, 1, 1, 1, 1e-12])) is None
    assert found_in(x, y, np.array([1.0, 1, 1, 1, 0])) is not None
    assert found_in(x[:4], y[:4], np.array([1.0, 1e-12, 1e-12, 1])) is not None


def shares_with_an_empty_cell(seed: int) -> tuple[Array, Array, Array, Array, Array]:
    """X, shares and weights of groups; and X and labels of their rows. Some cell of the table of counts is empty."""
    r = np.random.default_rng(seed)
    classes, groups = int(r.integers(2, 4)), int(r.integers(2, 5))
    x = np.eye(groups)[:, 1:] if r.random() < 0.5 else r.integers(0, 4, (groups, 2)).astype(float)
    counts = r.integers(1, 9, (groups, classes))
    counts[r.integers(groups), r.integers(classes)] = 0
    weight = counts.sum(axis=1).astype(float)
    shares = counts / weight[:, None]
    group, y = np.indices(counts.shape).reshape(2, -1)
    there = counts.reshape(-1) > 0
    return x, shares[:, 1] if classes == 2 else shares, weight, x[group[there]], y[there]


def check_shares(seed: int) -> bool:
    x, shares, weight, rows, y = shares_with_an_empty_cell(seed)
    target = np.eye(int(y.max()) + 1)[y]
    target = target[:, 1:] if target.shape[1] == 2 else target
    ones = np.column_stack([rows, np.ones(len(rows))])
    separated = not overlap(ones, target, np.zeros(ones.shape[1], dtype=np.int64))
    status = fitted(x, shares, sample_weight=weight).certificate_.status
    assert (status is Status.SEPARATED) == separated, (seed, status)
    return separated


def test_shares_are_separated_exactly_where_their_rows_are() -> None:
    assert sum(check_shares(seed) for seed in range(20)) > 3


@pytest.mark.slow
def test_shares_are_separated_exactly_where_their_rows_are_hundreds() -> None:
    for seed in range(20, 244):
        check_shares(seed)


# -- what other packages find ----------------------------------------------------------------------------------------


@pytest.fixture
def references() -> dict[str, Any]:
    if not REFERENCES.exists():
        pytest.skip("the data folder has no peers/references.json")
    loaded: dict[str, Any] = json.loads(REFERENCES.read_text())
    return loaded


def test_only_the_column_that_separates_is_named(references: dict[str, Any]) -> None:
    """The packages that solve one linear program also name a, whose sign is not determined."""
    data = references["separation_infinite_estimates_vignette"]["data"]
    found = separation_of(np.column_stack([data["a"], data["b"]]), data["y"])
    assert found == Separation(True, ((1, 0, 1),), ((0, -1),))


def test_an_infinite_intercept_is_named(references: dict[str, Any]) -> None:
    data = references["separation_uclaquasi"]["data"]["quasi"]
    model = fitted(np.column_stack([data["X1"], data["X2"]]), data["Y"])
    assert model.certificate_.separation == Separation(False, ((0, 0, 1),), ((0, -1),))
    with pytest.warns(match=r"by x0 \(\+\) and the intercept \(-\)"):
        LogisticRegression(l2=0).fit(np.column_stack([data["X1"], data["X2"]]), data["Y"])


def test_the_repair_records_of_cars(references: dict[str, Any]) -> None:
    assert "separation_auto_rep78" in references
    with (DATA / "peers" / "auto.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["rep78"] not in ("", "NA")]
    repair = np.array([int(float(row["rep78"])) for row in rows])
    X = np.column_stack([[float(row["mpg"]) for row in rows], *(repair == level for level in (2, 3, 4, 5))])
    y = np.array([row["foreign"] for row in rows])
    found = separation_of(X, np.isin(y, ["1", "Foreign", "foreign"]).astype(int))
    assert not found.complete
    assert found.intercepts == ((0, -1),)
    assert set(found.directions) == {(2, 0, 1), (3, 0, 1), (4, 0, 1)}


def test_a_centre_without_success(references: dict[str, Any]) -> None:
    data = references["separation_agresti_fungal"]["data"]["rows"]
    X = np.array([[row[1], *(row[0] == centre for centre in (1, 2, 3, 4))] for row in data], dtype=float)
    counts = np.array([row[2:] for row in data], dtype=float)
    found = separation_of(X, counts[:, 0] / counts.sum(axis=1), sample_weight=counts.sum(axis=1))
    assert found == Separation(False, ((1, 0, -1), (3, 0, -1)))


def test_a_column_that_separates_the_rows_where_it_is_not_zero(references: dict[str, Any]) -> None:
    data = references["separation_stata_repair"]["data"]["repair:domestic,foreign"]
    counts = np.array([data[level] for level in ("1", "2", "3")], dtype=float)
    X = np.array([[1.0, 0], [0, 1], [0, 0]])
    found = separation_of(X, counts[:, 1] / counts.sum(axis=1), sample_weight=counts.sum(axis=1))
    assert found == Separation(False, ((0, 0, -1),))


@pytest.mark.slow
@pytest.mark.parametrize("target", ["Purchase", "PWAPART"])
def test_caravan_insurance_is_separated(target: str) -> None:
    """By linear programming: the purchase, and, of four classes, the contribution to private third party insurance."""
    path = DATA / "stats_small" / "islr_caravan.csv"
    if not path.exists():
        pytest.skip("the data folder has no stats_small/islr_caravan.csv")
    with path.open() as file:
        names, *rows = csv.reader(file)
    table = np.array(rows)[:, 1:]
    column = names.index(target) - 1
    X = np.delete(table, [column, table.shape[1] - 1], axis=1).astype(float)
    assert not separation_of(X, table[:, column]).complete


# -- exact arithmetic ------------------------------------------------------------------------------------------------


def test_signs_are_those_of_rational_numbers() -> None:
    r = np.random.default_rng(0)
    rows = r.integers(-4, 5, (200, 3)) * 2.0 ** r.integers(-60, 60, (200, 3))
    rows[:, 2] = -(rows[:, 0] + rows[:, 1])  # rounded in some rows
    expected = [np.sign(math.fsum(row)) for row in rows.tolist()]
    assert signs(rows, [1, 1, 1]).tolist() == expected
    assert signs(rows, [3**50, 3**50, 3**50]).tolist() == expected
    assert signs(np.array([[1e300, -1e300, 1e-300]]), [1, 1, 1]).tolist() == [1]
    assert signs(np.array([[5e-324, 0.0]]), [-1, 7]).tolist() == [-1]


def test_null_vectors_combinations_and_alternatives_are_exact() -> None:
    r = np.random.default_rng(1)
    for _ in range(50):
        rows, near = r.integers(-9, 10, (3, 5)).tolist(), r.integers(-9, 10, 5).tolist()
        null = null_vector(rows, near)
        assert all(sum(a * b for a, b in zip(row, null, strict=True)) == 0 for row in rows)
        factors = combination(rows, [sum(column) for column in zip(*rows, strict=True)])
        assert factors is not None
        sums = [sum(f * v for f, v in zip(factors, column, strict=True)) for column in zip(*rows, strict=True)]
        assert sums == [sum(column) for column in zip(*rows, strict=True)]
        vector = alternative(rows, near)
        if vector is None:
            continue
        assert all(sum(a * b for a, b in zip(row, vector, strict=True)) >= 0 for row in rows)
        assert sum(a * b for a, b in zip(near, vector, strict=True)) < 0
    assert alternative([[1, 0], [0, 1]], [2, 3]) is None
    assert combination([[1, 0]], [0, 1]) is None


# -- what is shown ---------------------------------------------------------------------------------------------------


def test_a_summary_and_a_model_file_show_what_is_infinite(tmp_path: Path) -> None:
    model = fitted([[1, 3], [2, 0], [3, -1], [3, 4], [3, 1], [4, 0], [5, 2], [6, 7]], [0, 0, 0, 0, 1, 1, 1, 1])
    lines = {line.split()[0]: line.split()[1:] for line in model.summary().splitlines() if line}
    assert lines["x0"] == ["inf", "inf"]
    assert lines["(intercept)"] == ["-inf", "0"]
    assert math.isfinite(float(lines["x1"][0]))
    assert np.isfinite(model.coef_).all()
    model.save(tmp_path / "model.safetensors")
    facts = LogisticModel.load(tmp_path / "model.safetensors").facts
    assert facts.certificate["separation"] == {"complete": False, "directions": [[0, 0, 1]], "intercepts": [[0, -1]]}


def test_a_combination_is_not_named() -> None:
    """Of two columns each of which separates the classes, neither has to have a coefficient."""
    with pytest.warns(match=r"perfectly by several columns together, .* and mean nothing\. Use a penalty \(l2 > 0\)$"):
        LogisticRegression(l2=0).fit([[-2.0, -3.0], [-1.0, -1.0], [1.0, 2.0], [3.0, 1.0]], [0, 0, 1, 1])
