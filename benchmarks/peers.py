"""The peers: how each is called, and the budgets that trace its accuracy against time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, SGDClassifier

from benchmarks.problems import Array, Problem
from torchlogit.design import Dense
from torchlogit.fit import FitResult, Goal, fit
from torchlogit.losses import Logistic, Loss, Softmax
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Status
from torchlogit.solvers.stochastic_newton import StochasticNewton

TIGHT = 1e-10  # a tolerance that leaves the decision to the budget
INTERCEPT_SCALING = 100.0  # liblinear penalises the intercept: this divides that penalty by 1e4


@dataclass(frozen=True)
class Fit:
    """An answer: coef (1 or K, p) and intercept (1 or K,), float64.

    ended: in the peer's own words. settled: it stopped by its own rule, so that a larger budget changes nothing.
    relative_bound: how far it claims to be from the optimum at most, relative to F; None where it makes no claim.
    """

    coef: Array
    intercept: Array
    ended: str
    settled: bool
    relative_bound: float | None = None


class Peer(Protocol):
    """Someone who can fit a logistic regression."""

    @property
    def name(self) -> str:
        """The name it goes by in tables and options."""
        ...

    @property
    def note(self) -> str:
        """What a reader of the table has to know, or nothing."""
        ...

    @property
    def budgets(self) -> tuple[float, ...]:
        """From the least effort to the most."""
        ...

    def cannot(self, problem: Problem) -> str | None:
        """Why it cannot do this problem, in one phrase, or None."""
        ...

    def fit(self, problem: Problem, budget: float | None) -> Fit:
        """Its answer within a budget, or, where that is None, with its default settings."""
        ...


def objective_of(problem: Problem) -> Objective:
    """The problem as torchlogit takes it."""
    labels = torch.from_numpy(problem.y)
    loss: Loss = Logistic()
    target = labels[:, None].to(torch.float64)
    if problem.n_classes > 2:
        loss = Softmax(problem.n_classes)
        target = torch.nn.functional.one_hot(labels, problem.n_classes).to(torch.float64)
    return Objective.of(Dense.of(torch.from_numpy(problem.X)), target, loss=loss, penalty=ElasticNet(l2=problem.l2))


def certified(problem: Problem, tol: float) -> FitResult:
    """torchlogit's default fit, to this tolerance."""
    return fit(objective_of(problem), StochasticNewton(), Goal(tol=tol))


@dataclass(frozen=True)
class Torchlogit:
    """This library's default solver; a budget is the tolerance that it has to prove."""

    name: str = "torchlogit"
    note: str = "seconds include checking the arrays, building the objective and proving the bound"
    budgets: tuple[float, ...] = (1e-3, 1e-6)

    def cannot(self, problem: Problem) -> str | None:
        """Nothing so far."""
        return None

    def fit(self, problem: Problem, budget: float | None) -> Fit:
        """`certified` to that tolerance."""
        result = certified(problem, Goal().tol if budget is None else budget)
        coef, intercept = result.params.coef.T.numpy(), result.params.intercept.numpy()
        status = result.certificate.status
        return Fit(coef, intercept, status.value, status is Status.SEPARATED, result.certificate.relative_bound)


@dataclass(frozen=True)
class ScikitLearn:
    """LogisticRegression with one of its solvers and a tight tolerance; a budget is its max_iter."""

    solver: str
    budgets: tuple[float, ...]

    @property
    def name(self) -> str:
        """The solver's."""
        return self.solver

    @property
    def note(self) -> str:
        """About its tolerance, and liblinear's intercept."""
        tolerance = f"LogisticRegression, tol={TIGHT:g} so that max_iter decides: a warning says that it was not met"
        if self.solver != "liblinear":
            return tolerance
        return f"{tolerance}; penalises the intercept: intercept_scaling={INTERCEPT_SCALING:g}, judged by the same F"

    def cannot(self, problem: Problem) -> str | None:
        """liblinear's limits."""
        if self.solver == "liblinear" and problem.n_classes > 2:
            return "no softmax"
        if self.solver == "liblinear" and problem.l2 == 0:
            return "always penalises"
        return None

    def fit(self, problem: Problem, budget: float | None) -> Fit:
        """LogisticRegression(C=1 / l2, ...).fit."""
        options = {} if budget is None else {"max_iter": int(budget), "tol": TIGHT}
        scaling = INTERCEPT_SCALING if self.solver == "liblinear" else 1
        model = LogisticRegression(
            C=1 / problem.l2 if problem.l2 else np.inf,
            solver=self.solver,
            intercept_scaling=scaling,
            random_state=0,
            **options,
        ).fit(problem.X, problem.y)
        iterations = int(np.max(model.n_iter_))
        return _answer(model, f"{iterations} iterations", iterations < model.max_iter)


@dataclass(frozen=True)
class ScikitLearnSGD:
    """SGDClassifier(loss="log_loss") with its default settings; a budget is its max_iter."""

    name: str = "sgdclassifier"
    note: str = "default settings but alpha = l2 / n, or penalty=None"
    budgets: tuple[float, ...] = (1, 5, 20, 100, 1000)

    def cannot(self, problem: Problem) -> str | None:
        """No softmax."""
        return "one class against the rest, no softmax" if problem.n_classes > 2 else None

    def fit(self, problem: Problem, budget: float | None) -> Fit:
        """SGDClassifier(loss="log_loss", alpha=l2 / n, ...).fit."""
        options = {} if budget is None else {"max_iter": int(budget)}
        penalty = {"alpha": problem.l2 / len(problem.y)} if problem.l2 else {"penalty": None}
        model = SGDClassifier(loss="log_loss", random_state=0, **penalty, **options).fit(problem.X, problem.y)
        return _answer(model, f"{model.n_iter_} epochs", model.n_iter_ < model.max_iter)


@dataclass(frozen=True)
class TorchLoop:
    """The loop of a PyTorch tutorial: torch.nn.Linear, minibatches, torch.optim.SGD; a budget is its epochs."""

    name: str = "torch-loop"
    note: str = "torch.nn.Linear, torch.optim.SGD, learning rate 0.01, batches of 32; by default 100 epochs"
    budgets: tuple[float, ...] = (1, 5, 20, 100)

    def cannot(self, problem: Problem) -> str | None:
        """Nothing: it has no way to know."""
        return None

    def fit(self, problem: Problem, budget: float | None) -> Fit:
        """Mean loss of the batch plus l2 / 2n |W|^2, shuffled each epoch."""
        epochs = 100 if budget is None else int(budget)
        X, y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)
        binary, ridge = problem.n_classes == 2, problem.l2 / (2 * len(y))
        generator = torch.Generator().manual_seed(0)
        linear = torch.nn.Linear(X.shape[1], 1 if binary else problem.n_classes, dtype=X.dtype)
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
        optimizer = torch.optim.SGD(linear.parameters(), lr=0.01)
        target = y[:, None].to(X.dtype) if binary else y
        criterion = torch.nn.BCEWithLogitsLoss() if binary else torch.nn.CrossEntropyLoss()
        for _ in range(epochs):
            for batch in torch.split(torch.randperm(len(y), generator=generator), 32):
                optimizer.zero_grad()
                (criterion(linear(X[batch]), target[batch]) + ridge * linear.weight.square().sum()).backward()
                optimizer.step()
        coef, intercept = (part.detach().to(torch.float64).numpy() for part in (linear.weight, linear.bias))
        return Fit(coef, intercept, f"{epochs} epochs", False)


def _answer(model: LogisticRegression | SGDClassifier, ended: str, settled: bool) -> Fit:
    return Fit(model.coef_.astype(np.float64), model.intercept_.astype(np.float64), ended, settled)


def _iterations(*first: float, last: float) -> tuple[float, ...]:
    """These counts, then 1, 2, 5, 10, ... up to the last."""
    decades = (mantissa * 10.0**power for power in range(math.ceil(math.log10(last)) + 1) for mantissa in (1, 2, 5))
    return first + tuple(count for count in decades if max(first, default=0) < count <= last)


_PEERS: tuple[Peer, ...] = (
    Torchlogit(),
    ScikitLearn("lbfgs", _iterations(last=5000)),
    ScikitLearn("newton-cg", _iterations(last=200)),
    ScikitLearn("newton-cholesky", _iterations(2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, last=100)),
    ScikitLearn("liblinear", _iterations(2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, last=100)),
    ScikitLearn("sag", _iterations(last=1000)),
    ScikitLearn("saga", _iterations(last=1000)),
    ScikitLearnSGD(),
    TorchLoop(),
)
PEERS: dict[str, Peer] = {peer.name: peer for peer in _PEERS}
