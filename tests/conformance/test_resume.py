"""Every solver goes on from every snapshot to the same bits, whatever it keeps and whatever it makes again."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import Tensor

import cases
from cases import KINKED, PROBLEMS
from torchlogit.design import Sparse
from torchlogit.losses import Logistic, Softmax
from torchlogit.objective import CHUNK, Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Params, Snapshot, State
from torchlogit.solvers import Resumable, newton_model, stochastic_newton, working_set
from torchlogit.solvers.dual_ascent import DualAscent
from torchlogit.solvers.sgd import SGD
from torchlogit.solvers.softmax_ascent import SoftmaxAscent
from torchlogit.solvers.stochastic_newton import StochasticNewton
from torchlogit.solvers.tuning_free import SAGA, DoG, ImplicitSGD
from torchlogit.storage import load_tree, save_tree

BY_NAME = {problem.name: problem for problem in PROBLEMS + KINKED}
STEPS = 7
Patches = Mapping[tuple[ModuleType, str], float]


@dataclass(frozen=True)
class Case:
    """A solver on an objective, which is made anew for every run. holds: a part of the snapshot that is to be there."""

    name: str
    solver: Resumable
    objective: Callable[[], Objective]
    patches: Patches = field(default_factory=dict)
    holds: tuple[str, ...] = ()
    start: bool = False
    threads: int = 1


def named(name: str) -> Callable[[], Objective]:
    return BY_NAME[name].objective


def large(n_outputs: int = 1, n: int = 6000, d: int = 4, l2: float = 1.0) -> Objective:
    """Rows enough for samples, and for a warm-up."""
    loss = Logistic() if n_outputs == 1 else Softmax(n_outputs)
    return cases.objective_of(cases.table(n=n, d=d, n_outputs=n_outputs), loss, ElasticNet(l2=l2))


def soft_in_columns() -> Objective:
    """Targets that lie column by column in memory."""
    table = cases.table(n_outputs=3, targets=cases.soft)
    by_column = cases.Table(table.x, np.asfortranarray(table.target))
    return cases.objective_of(by_column, Softmax(3), ElasticNet(l2=1.0))


def nested_levels() -> Objective:
    """What a diagonal preconditions badly."""
    rng = np.random.default_rng(0)
    fine = rng.integers(0, 120, 3000)
    columns = np.stack([fine, 120 + fine // 6, 140 + fine // 30, 144 + rng.integers(0, 12, 3000)], axis=1)
    x = scipy.sparse.csr_array((np.ones(12000), columns.reshape(-1), np.arange(0, 12001, 4)), shape=(3000, 156))
    y = (rng.random(3000) < 1 / (1 + np.exp(rng.standard_normal(120)[fine])))[:, None].astype(float)
    return Objective.of(Sparse.of(x), torch.from_numpy(y), loss=Logistic(), penalty=ElasticNet(l2=0.01))


def empty_columns() -> Objective:
    """Of 3,000 columns, 30 hold values."""
    table = cases.table(cases.scarce, n=400, d=30)
    few = scipy.sparse.csr_array(table.x)
    x = scipy.sparse.csr_array((few.data, 100 * few.indices, few.indptr), shape=(400, 3000))
    return Objective.of(Sparse.of(x), torch.from_numpy(table.target), loss=Logistic(), penalty=ElasticNet(l2=1.0))


SMALL_SAMPLES: Patches = {(newton_model, "CHEAP"): 0.0}
FEW_COLUMNS: Patches = {(newton_model, "KINKED_WIDE"): 0, (working_set, "AT_FIRST"): 1}
SCARCE: Patches = {(newton_model, "WIDE"): 1, (newton_model, "SCARCE"): 1.0}
DEAR: Patches = {**SCARCE, (newton_model, "FACTORED"): 1e9}
POOR: Patches = {(stochastic_newton, "POOR_STEP"): 2.0}
matrix_free = StochasticNewton(max_dense=1)

CASES = [
    Case("newton, all rows", StochasticNewton(), named("well-conditioned")),
    Case("newton, started", StochasticNewton(), named("strong signal"), start=True),
    Case("newton, float32", StochasticNewton(), named("scales, float32")),
    Case("newton, softmax", StochasticNewton(), named("softmax 3")),
    Case("newton, targets by column", StochasticNewton(), soft_in_columns),
    Case("newton, warm-up, a sample's steps", StochasticNewton(seed=3), large, SMALL_SAMPLES, ("taken.residual",)),
    Case("newton, a sample preconditions", StochasticNewton(hessian_rows=10**6), large, SMALL_SAMPLES, ("taken.",)),
    Case("newton, samples by output", matrix_free, partial(large, 3), holds=("taken.samples.2.rows", "draw")),
    Case("newton, all rows by output", matrix_free, named("softmax 5"), holds=("taken.samples.4.weight",)),
    Case("newton, ever more rows", StochasticNewton(aim=1e-9, exact_below=1e-9, hessian_rows=1),
         partial(large, n=20_000, l2=1e-3), {**SMALL_SAMPLES, **POOR}, ("growth",)),
    Case("newton, l1", StochasticNewton(), named("l1")),
    Case("newton, l1, a sample", StochasticNewton(hessian_rows=1), named("softmax 5, l1, some columns free"),
         SMALL_SAMPLES),
    Case("newton, l1, by output", matrix_free, named("softmax 5, l1, some columns free"), SMALL_SAMPLES, ("draw",)),
    Case("newton, working sets", StochasticNewton(), named("csr, l1"), FEW_COLUMNS, ("columns",)),
    Case("newton, working sets by output", matrix_free, named("csr, softmax 3, signs, l2"),
         {**FEW_COLUMNS, (working_set, "MOST"): 2, (newton_model, "MOST"): 0}, ("columns", "draw")),
    Case("newton, columns that hold values", StochasticNewton(max_dense=10), empty_columns, holds=("columns", "taken.")),
    Case("newton, diagonal", matrix_free, named("csr, more columns than rows"), SCARCE, ("taken.diagonal",)),
    Case("newton, the dearer one", matrix_free, nested_levels, DEAR, ("taken.samples.0.weight",)),
    Case("newton, chunks, two threads", StochasticNewton(), partial(large, n=CHUNK + 77_777), threads=2),
    Case("newton, chunks of classes", StochasticNewton(), partial(large, 3, n=CHUNK // 2 + 111)),
    Case("dual", DualAscent(), named("csr, uneven weights, offsets")),
    Case("dual, elastic net", DualAscent(seed=2), named("elastic net")),
    Case("dual, started, no intercept", DualAscent(), named("no intercept"), start=True),
    Case("dual, two threads", DualAscent(), partial(large, n=300_000), threads=2),
    Case("softmax ascent", SoftmaxAscent(), named("softmax 3")),
    Case("softmax ascent, started", SoftmaxAscent(seed=1), named("softmax 5, no intercept, weights"), start=True),
    Case("sgd", SGD(0.1), named("well-conditioned")),
    Case("sgd, averaged", SGD(0.1, shuffle=True, average_after=3), named("softmax 3")),
    Case("sgd, momentum, halved", SGD(
        0.1, optimizer=partial(torch.optim.SGD, momentum=0.9),
        scheduler=partial(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.5)), named("well-conditioned")),
    Case("sgd, adam, any function", SGD(
        0.1, shuffle=True, optimizer=torch.optim.Adam,
        scheduler=partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda epoch: 1 / (1 + epoch))),
        named("well-conditioned"), start=True),
    Case("sgd, nadam, one cycle", SGD(
        0.1, optimizer=torch.optim.NAdam,
        scheduler=partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.2, total_steps=20)), named("well-conditioned")),
    Case("dog", DoG(), named("well-conditioned")),
    Case("implicit sgd", ImplicitSGD(), named("elastic net")),
    Case("saga", SAGA(), named("softmax 3"), start=True),
]  # fmt: skip


@contextmanager
def in_place(case: Case) -> Iterator[None]:
    """The case's constants and threads."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), value in case.patches.items():
            patch.setattr(module, name, value)
        torch.set_num_threads(case.threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def copied(state: State) -> State:
    """A state that outlives the next step."""
    return State(
        Params(state.params.coef.clone(), state.params.intercept.clone()), state.passes, state.objective,
        state.expected_gap, *(None if part is None else part.clone() for part in (state.raw, state.dual_residual)),
        state.expected_bound,
    )  # fmt: skip


def same(one: State, other: State) -> bool:
    """Bit for bit."""

    def alike(first: Tensor | None, second: Tensor | None) -> bool:
        return first is second is None or (first is not None and second is not None and torch.equal(first, second))

    numbers = [(s.passes, s.objective, s.expected_gap, s.expected_bound) for s in (one, other)]
    tensors = [(s.params.coef, s.params.intercept, s.raw, s.dual_residual) for s in (one, other)]
    return numbers[0] == numbers[1] and all(alike(*pair) for pair in zip(*tensors, strict=True))


def names_of(tree: Any, name: str = "") -> Iterator[str]:
    """The name of every part that is there."""
    parts = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    if tree is not None:
        yield name
    for key, part in parts:
        yield from names_of(part, f"{name}.{key}")


def start_of(case: Case, objective: Objective) -> Params | None:
    return objective.params(objective.visible(cases.random_theta(objective, 0.5))) if case.start else None


@pytest.mark.parametrize("case", CASES, ids=cases.named)
def test_goes_on_from_every_snapshot_to_the_same_bits(case: Case, tmp_path: Path) -> None:
    with in_place(case):
        objective, states, seen = case.objective(), list[State](), set[str]()
        for number, state in enumerate(islice(case.solver.iterates(objective, start_of(case, objective)), STEPS)):
            states.append(copied(state))
            assert state.snapshot is not None
            snapshot = state.snapshot()
            seen |= set(names_of(snapshot))
            save_tree(tmp_path / f"{number}", snapshot, "snapshot", 1)
        missing = [part for part in case.holds if not any(part in name for name in seen)]
        assert not missing, f"the case does not show what it is for: {missing}"
        for number in range(STEPS - 1):
            resumed = case.solver.resumed(case.objective(), load_tree(tmp_path / f"{number}", "snapshot", 1))
            again = [copied(state) for state in islice(resumed, STEPS - 1 - number)]
            assert len(again) == STEPS - 1 - number
            for place, (one, other) in enumerate(zip(again, states[number + 1 :], strict=True)):
                assert same(one, other), f"from {number}, {place + 1} later"
