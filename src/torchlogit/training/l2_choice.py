"""Determines l2: a number is used as given; for "auto" or an L2Choice, l2 is chosen with the help of the rows."""

from __future__ import annotations

import numbers
from functools import partial
from typing import Any

import numpy as np
import torch

from torchlogit.data.targets import Targets
from torchlogit.errors import InputError
from torchlogit.objective import Objective
from torchlogit.path import L2Choice, PenaltyPath, choose
from torchlogit.training.problem import Problem
from torchlogit.training.rows import LabelledRows


def number_or_choice(l2: Any) -> float | L2Choice:
    """l2 as a float, or the L2Choice that says how to choose it; InputError for any other value."""
    if isinstance(l2, L2Choice):
        return l2
    if isinstance(l2, str) and l2 == "auto":
        return L2Choice()
    if isinstance(l2, numbers.Real):
        return float(l2)
    raise InputError(f"l2={l2!r}: expected a number that is not negative, 'auto', or an L2Choice")


def choose_l2(choice: L2Choice, problem: Problem, *, seed: int, validation: LabelledRows | None) -> PenaltyPath:
    """The path of penalties and the chosen one. validation: rows to choose by, if choice.by is None or "validation"."""
    objective, rows = problem.objective, problem.rows
    observation_weight = objective.weight / torch.from_numpy(np.maximum(rows.counts, 1.0)).to(objective.weight)
    make_folds = partial(folds, objective, rows.targets, choice.cv, seed)
    others = None
    if validation is not None and choice.by in (None, "validation"):
        others = problem.losses_of(validation)
    return choose(
        objective,
        choice,
        observation_weight=observation_weight,
        folds=make_folds,
        validation=others,
        seed=seed,
    )


def folds(objective: Objective, targets: Targets, cv: Any, seed: int) -> torch.Tensor:
    """The index of every row's fold, (n,), with about the same shares of the classes in all folds.

    The index is -1, for no fold, for rows without weight, and for the only row of a class: without that row, a fit
    would lack the class.
    """
    if not isinstance(cv, int | np.integer):
        return _given_folds(objective, targets, cv)
    if cv < 2:
        raise InputError(f"cv={cv}: expected at least 2 folds, or a splitter of scikit-learn")
    fold = np.full(objective.design.shape[0], -1)
    random = np.random.default_rng(seed)
    weighted = objective.weight.cpu().numpy() > 0
    codes = np.zeros(len(fold), dtype=np.int64) if targets.codes is None else targets.codes
    n_dealt = 0
    for code in np.unique(codes[weighted]):
        rows = random.permutation(np.flatnonzero(weighted & (codes == code)))
        if len(rows) > 1:
            fold[rows] = (n_dealt + np.arange(len(rows))) % cv
            n_dealt += len(rows)
    if len(np.unique(fold[fold >= 0])) < 2:
        n = np.count_nonzero(weighted)
        raise InputError(f"cv={cv}: {n} rows are too few for two folds; give more rows, or l2 as a number")
    return torch.from_numpy(fold).to(objective.target.device)


def _given_folds(objective: Objective, targets: Targets, cv: Any) -> torch.Tensor:
    """Folds from the test sets of a scikit-learn splitter; the training set of each must consist of all other rows."""
    from sklearn.model_selection import check_cv

    n = objective.design.shape[0]
    fold, y = np.full(n, -1), targets.codes
    splits = check_cv(cv, y, classifier=y is not None).split(np.zeros((n, 1)), np.zeros(n) if y is None else y)
    for k, (train, test) in enumerate(splits):
        if (fold[test] >= 0).any() or len(train) + len(test) != n or np.isin(test, train).any():
            raise InputError("cv: expected folds that test each row at most once, and train on all rows outside a fold")
        fold[test] = k
    return torch.from_numpy(fold).to(objective.target.device)
