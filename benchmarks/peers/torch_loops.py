"""Ordinary PyTorch training loops: torch.nn.Linear and an optimiser of torch.optim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.peers.peer import PRECISIONS, Fit, dense_only, float64
from benchmarks.problems import Problem


@dataclass(frozen=True)
class TorchLoop:
    """Minibatches, shuffled in each epoch and indexed without a DataLoader; a budget is its number of epochs."""

    name: str
    optimizer: type[torch.optim.SGD] | type[torch.optim.Adam]
    rate: float
    batch: int
    budgets: tuple[float, ...] = (1, 5, 20, 100)
    precisions: tuple[str, ...] = PRECISIONS

    @property
    def note(self) -> str:
        """Its settings."""
        settings = f"torch.nn.Linear, torch.optim.{self.optimizer.__name__}, learning rate {self.rate:g}"
        return f"{settings}, batches of {self.batch} by index, no DataLoader; by default 100 epochs"

    def cannot(self, problem: Problem) -> str | None:
        """Refuses sparse rows."""
        return dense_only(problem)

    def fit(self, problem: Problem, budget: float | None) -> Fit:
        """Minimise the mean loss of each batch plus the penalty over n."""
        epochs = 100 if budget is None else int(budget)
        X, target = _tensors(problem)
        linear, objective = _linear(problem), _objective(problem)
        generator = torch.Generator().manual_seed(0)
        optimizer = self.optimizer(linear.parameters(), lr=self.rate)
        for _ in range(epochs):
            for batch in torch.split(torch.randperm(len(X), generator=generator), self.batch):
                optimizer.zero_grad()
                objective(linear, X[batch], target[batch]).backward()
                optimizer.step()
        return Fit(float64(linear.weight), float64(linear.bias), f"{epochs} epochs", False)


@dataclass(frozen=True)
class TorchLBFGS:
    """torch.optim.LBFGS on all rows at once, with a strong Wolfe line search; a budget is its max_iter."""

    name: str = "torch-lbfgs"
    note: str = 'torch.nn.Linear, torch.optim.LBFGS(line_search_fn="strong_wolfe"), history 10, tolerances 0'
    budgets: tuple[float, ...] = (10, 20, 50, 100, 200, 500, 1000)
    precisions: tuple[str, ...] = PRECISIONS

    def cannot(self, problem: Problem) -> str | None:
        """Refuses problems with l1, for which its line search has no gradient, and sparse rows."""
        return "no l1: needs a smooth objective" if problem.l1 else dense_only(problem)

    def fit(self, problem: Problem, budget: float | None) -> Fit:
        """Minimise the mean loss plus the penalty over n; 100 iterations by default."""
        iterations = 100 if budget is None else int(budget)
        X, target = _tensors(problem)
        linear, objective = _linear(problem), _objective(problem)
        optimizer = torch.optim.LBFGS(
            linear.parameters(),
            max_iter=iterations,
            max_eval=2 * iterations,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            history_size=10,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = objective(linear, X, target)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        done = int(optimizer.state[linear.weight]["n_iter"])
        return Fit(float64(linear.weight), float64(linear.bias), f"{done} iterations", done < iterations)


def _tensors(problem: Problem) -> tuple[Tensor, Tensor]:
    X, y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)
    return X, y[:, None].to(X.dtype) if problem.n_classes == 2 else y


def _linear(problem: Problem) -> torch.nn.Linear:
    dtype = torch.from_numpy(problem.X).dtype
    linear = torch.nn.Linear(problem.X.shape[1], 1 if problem.n_classes == 2 else problem.n_classes, dtype=dtype)
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    return linear


def _objective(problem: Problem) -> Callable[[torch.nn.Linear, Tensor, Tensor], Tensor]:
    """An estimate of F / n from the rows of a batch."""
    criterion = torch.nn.BCEWithLogitsLoss() if problem.n_classes == 2 else torch.nn.CrossEntropyLoss()
    l1, l2 = problem.l1 / len(problem.y), problem.l2 / len(problem.y)

    def objective(linear: torch.nn.Linear, X: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = criterion(linear(X), target)
        if l2:
            loss = loss + l2 / 2 * linear.weight.square().sum()
        if l1:
            loss = loss + l1 * linear.weight.abs().sum()
        return loss

    return objective
