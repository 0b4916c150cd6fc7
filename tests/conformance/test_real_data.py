"""Real tables: the optimum of other solvers, and the coefficients printed in textbooks and manuals."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from pandas import DataFrame

import cases
from cases import Table
from places import DATA
from torchlogit.fit import Goal, fit
from torchlogit.losses import loss_for
from torchlogit.penalties import ElasticNet
from torchlogit.records import Status
from torchlogit.solvers.newton.stochastic_newton import StochasticNewton

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the shared data folder at {DATA}"),
]

# -- optima found by scikit-learn to the last digits ----------------------------------------------------------


def higgs_small() -> tuple[NDArray[Any], NDArray[Any]]:
    values = np.loadtxt(DATA / "higgs" / "lgb_binary.train")
    return values[:, 1:], values[:, 0]


def elec() -> tuple[NDArray[Any], NDArray[Any]]:
    """The first four fifths, in time order; in float32, as the file's optimum is (float64 moves it by 2e-9)."""
    values = np.loadtxt(DATA / "elec" / "elec.csv", delimiter=",", skiprows=1)
    values = values[: int(0.8 * len(values))]
    return values[:, :-1].astype(np.float32), values[:, -1]


def credit_default() -> tuple[NDArray[Any], NDArray[Any]]:
    archive = np.load(DATA / "credit_default" / "credit.npz")
    train = np.random.RandomState(0).rand(30_000) >= 0.2
    return archive["X"][train].astype(float), archive["y"][train].astype(float)


TABLES: dict[str, Callable[[], tuple[NDArray[Any], NDArray[Any]]]] = {
    "higgs_small": higgs_small,
    "elec": elec,
    "credit_default": credit_default,
}


@pytest.mark.parametrize("name", TABLES)
def test_reaches_the_published_optimum(name: str) -> None:
    optima: dict[str, Any] = json.loads((DATA / "reference_optima.json").read_text())
    wanted = next(v for key, v in optima.items() if key.startswith(f"{name}|standardised"))
    x, y = TABLES[name]()
    n = len(y)
    assert (n, x.shape[1]) == (wanted["n"], wanted["p"])
    table = Table(((x - x.mean(axis=0)) / x.std(axis=0)).astype(float), y[:, None])
    objective = cases.objective_of(table, loss_for(2), ElasticNet(l2=wanted["l2"] * n))
    result = fit(objective, StochasticNewton(), Goal(tol=1e-9))
    assert result.certificate.status is Status.CERTIFIED
    assert result.certificate.objective / n <= wanted["objective"] * (1 + 1e-9)
    assert result.certificate.objective / n >= wanted["objective"] * (1 - 1e-7)
    assert result.passes < 40


# -- maximum likelihood, as printed --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Textbook:
    """A table of stats_small, how to build its target and its columns, and the coefficients' names in that order."""

    name: str
    file: str
    target: Callable[[DataFrame], Any]
    columns: dict[str, Callable[[DataFrame], Any]]
    rows: Callable[[DataFrame], Any] | None = None
    weight: Callable[[DataFrame], Any] | None = None


def column(name: str) -> Callable[[DataFrame], Any]:
    return lambda frame: frame[name]


def equals(name: str, value: object) -> Callable[[DataFrame], Any]:
    return lambda frame: frame[name] == value


def numeric(*names: str) -> dict[str, Callable[[DataFrame], Any]]:
    return {name: column(name) for name in names}


TEXTBOOKS = [
    Textbook("ucla_admit", "ucla_admit", column("admit"), numeric("gre", "gpa")
             | {f"C(rank)[T.{k}]": equals("rank", k) for k in (2, 3, 4)}),
    Textbook("spector", "sm_spector", column("GRADE"), numeric("GPA", "TUCE", "PSI")),
    Textbook("birthwt_full", "birthwt", column("low"), numeric("age", "lwt", "smoke", "ptl", "ht", "ui", "ftv")
             | {f"C(race)[T.{k}]": equals("race", k) for k in (2, 3)}),
    Textbook("pima_tr", "pima_tr", equals("type", "Yes"),
             numeric("npreg", "glu", "bp", "skin", "bmi", "ped", "age")),
    Textbook("SAheart_esl42", "SAheart", column("chd"),
             numeric("sbp", "tobacco", "ldl", "obesity", "alcohol", "age")
             | {"famhist[T.Present]": equals("famhist", "Present")}),
    Textbook("islr_default", "islr_default", equals("default", "Yes"), numeric("balance", "income")
             | {"student[T.Yes]": equals("student", "Yes")}),
    Textbook("donner_all", "donner", column("survived"), numeric("age") | {"sex[T.Male]": equals("sex", "Male")}),
    Textbook("menarche", "menarche", lambda f: f["Menarche"] / f["Total"], numeric("Age"), weight=column("Total")),
    Textbook("infert", "infert", column("case"), numeric("age", "parity", "spontaneous", "induced")
             | {f"education[T.{k}]": equals("education", k) for k in ("12+ yrs", "6-11yrs")}),
    Textbook("icu_age", "icu", equals("died", "Yes"), numeric("age")),
    Textbook("chdage", "hl_chdage", equals("chd", "Yes"), numeric("age")),
]  # fmt: skip


@cache
def fits() -> dict[str, Any]:
    return dict(json.loads((DATA / "stats_small" / "reference_fits.json").read_text()))


@pytest.mark.parametrize("book", TEXTBOOKS, ids=cases.named)
def test_maximum_likelihood_is_the_printed_one(book: Textbook) -> None:
    wanted = fits()[book.name]
    frame = pd.read_csv(DATA / "stats_small" / f"{book.file}.csv")
    assert len(frame) == wanted["nobs"]
    x = np.stack([np.asarray(make(frame), dtype=float) for make in book.columns.values()], axis=1)
    y = np.array(book.target(frame), dtype=float)[:, None]
    weight = None if book.weight is None else np.array(book.weight(frame), dtype=float)
    objective = cases.objective_of(Table(x, y, weight), loss_for(2), ElasticNet())
    result = fit(objective, StochasticNewton(), Goal(tol=1e-10, standard_errors=5e-6))
    assert result.certificate.status is Status.CERTIFIED, result.certificate.message
    assert float(result.params.intercept) == pytest.approx(wanted["coef"]["Intercept"], rel=1e-5)
    ours = dict(zip(book.columns, result.params.coef[:, 0].tolist(), strict=True))
    printed = {name: value for name, value in wanted["coef"].items() if name != "Intercept"}
    assert ours == pytest.approx(printed, rel=1e-5)
    if weight is None:
        assert 2 * result.certificate.objective == pytest.approx(wanted["deviance"], rel=1e-9)


def test_maximum_likelihood_of_three_classes_is_the_printed_one() -> None:
    """Their coefficients are differences from the first class; ours sum to zero."""
    wanted = fits()["hsb2_prog"]
    frame = pd.read_csv(DATA / "stats_small" / "hsb2.csv")
    names = {"sesmiddle": equals("ses", "middle"), "seshigh": equals("ses", "high"), "write": column("write")}
    x = np.stack([np.asarray(make(frame), dtype=float) for make in names.values()], axis=1)
    y = np.stack([np.asarray(frame["prog"] == name, dtype=float) for name in wanted["classes"]], axis=1)
    objective = cases.objective_of(Table(x, y), loss_for(3), ElasticNet())
    result = fit(objective, StochasticNewton(), Goal(tol=1e-10, standard_errors=5e-6))
    assert result.certificate.status is Status.CERTIFIED
    for k, name in enumerate(wanted["classes"][1:], start=1):
        intercept = float(result.params.intercept[k] - result.params.intercept[0])
        assert intercept == pytest.approx(wanted["coef"][name]["Intercept"], rel=1e-5)
        ours = dict(zip(names, (result.params.coef[:, k] - result.params.coef[:, 0]).tolist(), strict=True))
        assert ours == pytest.approx({n: wanted["coef"][name][n] for n in names}, rel=1e-5)
    assert 2 * result.certificate.objective == pytest.approx(wanted["deviance"], rel=1e-9)
