"""Stochastic methods on one problem: how far F is above its minimum after each pass over the rows.

    python examples/sgd_race.py docs/sgd.svg

The problem is Adult: 32,561 rows, 108 columns, l2=1. The minimum is known from the certificate of a fit to 1e-12,
which proves a lower bound. The script writes a picture and prints a table; it takes a few minutes.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from pyarrow import csv

from torchlogit import SAGA, SGD, DoG, ImplicitSGD, StochasticNewton, TableEncoder
from torchlogit.design import Dense
from torchlogit.fit import Goal, fit
from torchlogit.losses import Logistic
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.pictures import GREY, Axis, Line, Panel, picture
from torchlogit.solvers import Solver

ADULT = Path(__file__).resolve().parent / "adult" / "adult-train.csv.gz"
PASSES = 30
SHOWN = (1, 3, 10, 30)  # passes in the table
LEAST_GAP = 1e-10  # a curve ends here

sgd = partial(SGD, batch_size=32, n_epochs=PASSES, shuffle=True)
TUNED: dict[str, Solver] = {
    "SGD, rate 0.05": sgd(0.05),
    "rate 1": sgd(1.0),
    "rate 0.005, momentum 0.9": sgd(0.005, optimizer=partial(torch.optim.SGD, momentum=0.9)),
    "rate 0.2 * 0.9^epoch": sgd(0.2, scheduler=partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.9)),
    "rate 0.2, averaged": sgd(0.2, average_after=1),
    "Adam, rate 0.003": sgd(0.003, optimizer=torch.optim.Adam),
}
TUNING_FREE: dict[str, Solver] = {
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
    return Objective.of(Dense.of(torch.from_numpy(features)), target, loss=Logistic(), penalty=ElasticNet(l2=1.0))


def proven_minimum(objective: Objective) -> float:
    """A proven lower bound of F, from the certificate of a fit to a relative bound of 1e-12."""
    certificate = fit(objective, StochasticNewton(), Goal(tol=1e-12)).certificate
    assert certificate.bound is not None
    return certificate.objective - certificate.bound


def race(objective: Objective, solvers: Mapping[str, Solver], passes: float) -> list[Line]:
    """For each solver a curve of (F - proven minimum) / F by passes, which ends at LEAST_GAP."""
    floor, curves = proven_minimum(objective), []
    for name, solver in solvers.items():
        at, gaps = list[float](), list[float]()
        for state in solver.iterates(objective, None):
            if state.passes > passes or (gaps and gaps[-1] <= LEAST_GAP):
                break
            at.append(state.passes)
            gaps.append(max((state.objective - floor) / state.objective, LEAST_GAP))
        curves.append(Line(at, gaps, name))
    return curves


def after(curve: Line, passes: float) -> str:
    """The gap after this many passes."""
    reached = [gap for at, gap in zip(curve.x, curve.y, strict=True) if at <= passes]
    if not reached:
        return "-"
    return f"{reached[-1]:.1e}" if reached[-1] > LEAST_GAP else f"< {LEAST_GAP:.0e}"


def panel(title: str, curves: Sequence[Line]) -> Panel:
    """A panel of curves with a logarithmic axis."""
    return Panel(title, Axis("passes over the rows"), Axis("(F - minimum) / F", "log"), tuple(curves))


if __name__ == "__main__":
    tuned, free = (race(adult(), solvers, PASSES) for solvers in (TUNED, TUNING_FREE))
    for curve in (*tuned, *free):
        print(f"{curve.label:<26}", *(f"{after(curve, passes):>8}" for passes in SHOWN))
    newton = replace(free[-1], color=GREY, dashed=True)
    panels = [panel("A rate to choose", (*tuned, newton)), panel("Nothing to choose", (*free[:-1], newton))]
    Path(sys.argv[1]).write_text(picture(panels, panel_width=560, panel_height=520), encoding="utf-8")
