"""Stochastic methods on one problem: how far above the minimum each is after every pass over the rows.

    python examples/sgd_race.py docs/sgd.svg

The problem is Adult, 32,561 rows, 108 columns, l2=1. The ruler is a certificate: a fit to 1e-12 proves from below where
the minimum is, and everybody's F is compared with that. Writes a picture, prints a table; about a minute.
"""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from pyarrow import csv

from torchlogit import SAGA, SGD, DoG, ImplicitSGD, StochasticNewton, TableEncoder
from torchlogit.design import Dense
from torchlogit.fit import Goal, fit
from torchlogit.losses import Logistic
from torchlogit.objective import Objective
from torchlogit.penalties import L2
from torchlogit.pictures import Axis, Line, Panel, picture
from torchlogit.solvers import Solver

ADULT = Path(__file__).resolve().parent / "adult" / "adult-train.csv.gz"
PASSES = 40
SHOWN = (1, 3, 10, 40)

sgd = partial(SGD, batch_size=32, n_epochs=PASSES, shuffle=True)
SOLVERS: dict[str, Solver] = {
    "SGD, rate 0.05": sgd(0.05),
    "SGD, rate 1": sgd(1.0),
    "momentum 0.9": sgd(0.005, optimizer=partial(torch.optim.SGD, momentum=0.9)),
    "rate 0.2 * 0.9^epoch": sgd(0.2, scheduler=partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.9)),
    "rate 0.2, averaged": sgd(0.2, average_after=1),
    "Adam, rate 0.003": sgd(0.003, optimizer=torch.optim.Adam),
    "DoG": DoG(),
    "ImplicitSGD": ImplicitSGD(),
    "SAGA": SAGA(),
    "StochasticNewton": StochasticNewton(),
}


def adult() -> Objective:
    """F of the Adult table: numbers standardised, levels one-hot, l2=1."""
    table = csv.read_csv(ADULT)
    target = torch.tensor([[float(income == ">50K")] for income in table["income"].to_pylist()])
    features = TableEncoder().fit_transform(table.drop_columns(["income"]))
    return Objective.of(Dense.of(torch.from_numpy(features)), target, loss=Logistic(), penalty=L2(1.0))


def proven_minimum(objective: Objective) -> float:
    """A number that F is nowhere below: the certificate of a fit to twelve digits says so."""
    certificate = fit(objective, StochasticNewton(), Goal(tol=1e-12)).certificate
    assert certificate.bound is not None
    return certificate.objective - certificate.bound


def race(objective: Objective, solvers: Mapping[str, Solver], passes: float) -> dict[str, Line]:
    """For each solver, (F - proven minimum) / F against passes: at least the true distance, at most 1e-12 more."""
    floor, curves = proven_minimum(objective), {}
    for name, solver in solvers.items():
        history = fit(objective, solver, Goal(tol=1e-10, max_iter=passes, time_budget=3600)).history
        gaps = [(step.objective - floor) / step.objective for step in history]
        curves[name] = Line([step.passes for step in history], gaps, name, dashed=name.startswith(("SGD", "rate")))
    return curves


def after(curve: Line, passes: float) -> str:
    """The gap at the last state that so many passes reach."""
    reached = [gap for at, gap in zip(curve.x, curve.y, strict=True) if at <= passes + 1e-9]
    return f"{reached[-1]:.1e}" if reached else "-"


if __name__ == "__main__":
    curves = race(adult(), SOLVERS, PASSES)
    for name, curve in curves.items():
        print(f"{name:<22}", *(f"{after(curve, passes):>8}" for passes in SHOWN))
    panel = Panel(
        "Adult, 32,561 rows: distance from the proven minimum",
        Axis("passes over the rows"),
        Axis("(F - minimum) / F", "log"),
        tuple(curves.values()),
    )
    Path(sys.argv[1]).write_text(picture([panel], panel_width=760, panel_height=520), encoding="utf-8")
