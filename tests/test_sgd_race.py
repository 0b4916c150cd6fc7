"""The page's race: its ruler is the true distance, and its picture shows every runner."""

from __future__ import annotations

import re
import runpy
from functools import partial

import pytest

import cases
from places import ROOT
from reference.objective import Plain, optimum
from torchlogit import SAGA, SGD, StochasticNewton
from torchlogit.objective import Objective

SCRIPT = runpy.run_path(str(ROOT / "examples" / "sgd_race.py"))


@pytest.fixture
def objective() -> Objective:
    return cases.Problem("small", partial(cases.table)).objective()


def test_the_curves_are_the_true_distances(objective: Objective) -> None:
    solvers = {"sgd": SGD(0.2, batch_size=50, n_epochs=3), "saga": SAGA()}
    curves = {curve.label: curve for curve in SCRIPT["race"](objective, solvers, 3)}
    best = float(optimum(Plain.of(objective)).value)
    assert list(curves) == list(solvers)
    assert list(curves["sgd"].x) == [1, 2, 3]
    for state, gap in zip(solvers["sgd"].iterates(objective, None), curves["sgd"].y, strict=True):
        assert gap == pytest.approx((state.objective - best) / state.objective, rel=1e-6)
    assert len(curves["saga"].x) == 1
    assert 2.5 <= curves["saga"].x[0] < 3
    assert [SCRIPT["after"](curves["saga"], passes) for passes in (2, 3)] == ["-", f"{curves['saga'].y[0]:.1e}"]


def test_a_curve_ends_where_it_arrives(objective: Objective) -> None:
    (curve,) = SCRIPT["race"](objective, {"newton": StochasticNewton()}, 50)
    assert curve.y[-1] == SCRIPT["LEAST_GAP"]
    assert all(gap > SCRIPT["LEAST_GAP"] for gap in curve.y[:-1])
    assert SCRIPT["after"](curve, 50) == "< 1e-10"


def test_the_page_and_its_picture_show_every_runner() -> None:
    page = (ROOT / "docs" / "sgd.md").read_text(encoding="utf-8")
    drawn = (ROOT / "docs" / "sgd.svg").read_text(encoding="utf-8")
    assert "](sgd.svg)" in page
    for name in (*SCRIPT["TUNED"], *SCRIPT["TUNING_FREE"]):
        assert f">{name}<" in drawn, name
        assert re.search(rf"^\| {re.escape(name)} \|", page, flags=re.MULTILINE), name
