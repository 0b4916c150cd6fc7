"""The penalty of an estimator: given, or chosen by the data."""

from __future__ import annotations

import numbers
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import check_cv

from torchlogit.data.targets import Targets
from torchlogit.errors import InputError
from torchlogit.estimator.problem import Problem
from torchlogit.objective import Objective
from torchlogit.path import L2Choice, PenaltyPath, choose

Array = NDArray[np.float64]


def choice_of(l2: Any) -> L2Choice | None:
    """How l2 is to be chosen; None where it is a number."""
    if isinstance(l2, L2Choice):
        return l2
    if isinstance(l2, str) and l2 == "auto":
        return L2Choice()
    if isinstance(l2, numbers.Real):
        return None
    raise InputError(f"l2={l2!r}: expected a number that is not negative, 'auto', or an L2Choice")


def number_of(l2: Any, chosen: float) -> float:
    """l2, or what was chosen for it."""
    return float(l2) if choice_of(l2) is None else chosen


def chosen_path(choice: L2Choice, problem: Problem, *, seed: int, validation: Objective | None) -> PenaltyPath:
    """The path of penalties, with its choice. validation: rows that may choose, their columns moved as the fit's."""
    objective, rows = problem.objective, problem.rows
    observation_weight = objective.weight / torch.from_numpy(np.maximum(rows.counts, 1.0)).to(objective.weight)
    make = partial(folds, objective, rows.targets, choice.cv, seed)
    return choose(
        objective, choice, observation_weight=observation_weight, folds=make, validation=validation, seed=seed
    )


def folds(objective: Objective, targets: Targets, cv: Any, seed: int) -> torch.Tensor:
    """The fold of every row, (n,): classes alike in all of them; -1 for rows without weight and for lone ones.

    A lone row is the only one of its class: without it there would be no class to fit.
    """
    if not isinstance(cv, int | np.integer):
        return _given_folds(objective, targets, cv)
    if cv < 2:
        raise InputError(f"cv={cv}: expected at least 2 folds, or a splitter of scikit-learn")
    fold = np.full(objective.design.shape[0], -1)
    random = np.random.default_rng(seed)
    weighted = objective.weight.cpu().numpy() > 0
    codes = np.zeros(len(fold), dtype=np.int64) if targets.codes is None else targets.codes
    dealt = 0
    for code in np.unique(codes[weighted]):
        rows = random.permutation(np.flatnonzero(weighted & (codes == code)))
        if len(rows) > 1:
            fold[rows] = (dealt + np.arange(len(rows))) % cv
            dealt += len(rows)
    if len(np.unique(fold[fold >= 0])) < 2:
        raise InputError(f"cv={cv}: {np.count_nonzero(weighted)} rows make no two folds; give more, or l2 as a number")
    return torch.from_numpy(fold).to(objective.target.device)


def _given_folds(objective: Objective, targets: Targets, cv: Any) -> torch.Tensor:
    """The test sets of a splitter, whose training sets have to be all other rows."""
    n = objective.design.shape[0]
    fold, y = np.full(n, -1), targets.codes
    splits = check_cv(cv, y, classifier=y is not None).split(np.zeros((n, 1)), np.zeros(n) if y is None else y)
    for k, (train, test) in enumerate(splits):
        if (fold[test] >= 0).any() or len(train) + len(test) != n or np.isin(test, train).any():
            raise InputError("cv: expected folds, each row tested at most once, by a fit of all rows outside its fold")
        fold[test] = k
    return torch.from_numpy(fold).to(objective.target.device)
