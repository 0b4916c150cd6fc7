"""Every solver goes on from every snapshot to the same bits, whatever it keeps and whatever it makes again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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
import torchlogit.objective
from cases import KINKED, PROBLEMS
from torchlogit.atomic import load_tree, map_tensors, save_tree
from torchlogit.design import Sparse
from torchlogit.losses import Logistic, Softmax
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Params, State
from torchlogit.solvers import Resumable
from torchlogit.solvers.dual import dual_ascent
from torchlogit.solvers.dual.dual_ascent import DualAscent
from torchlogit.solvers.dual.softmax_ascent import SoftmaxAscent
from torchlogit.solvers.newton.model_choice import ModelChoice
from torchlogit.solvers.newton.stochastic_newton import StochasticNewton
from torchlogit.solvers.stochastic.sgd import SGD
from torchlogit.solvers.stochastic.tuning_free import SAGA, DoG, ImplicitSGD

BY_NAME = {problem.name: problem for problem in PROBLEMS + KINKED}
STEPS = 7
MANY = 70_000  # rows in a chunk, more than one thread works on alone
Patches = Mapping[tuple[ModuleType, str], float]


@dataclass(frozen=True)
class Case:
    """A solver on an objective, which is made anew for every run, and the constants that let it show what it does.

    holds: parts of the snapshots that are to be there. after: the steps to go on from.
    """

    name: str
    solver: Resumable
    objective: Callable[[], Objective]
    patches: Patches = field(default_factory=dict)
    holds: tuple[str, ...] = ()
    start: bool = False
    threads: int = 1
    after: tuple[int, ...] = (0, 2, 5)


def named(name: str) -> Callable[[], Objective]:
    return BY_NAME[name].objective


def large(n_outputs: int = 1, n: int = 6000, d: int = 4, l2: float = 1.0) -> Objective:
    """Rows enough for samples, and for a warm-up."""
    loss = Logistic() if n_outputs == 1 else Softmax(n_outputs)
    return cases.objective_of(cases.table(n=n, d=d, n_outputs=n_outputs), loss, ElasticNet(l2=l2))


def heavy_tails() -> Objective:
    """Of which small samples say little."""
    table = cases.table(cases.heavy_tails, n=6000, d=6, signal=6.0)
    return cases.objective_of(table, Logistic(), ElasticNet(l2=1.0))


def few(n_outputs: int = 1, l1: float = 0.0) -> Objective:
    """Rows few enough for steps batch by batch."""
    loss = Logistic() if n_outputs == 1 else Softmax(n_outputs)
    return cases.objective_of(cases.table(n=50, d=3, n_outputs=n_outputs), loss, ElasticNet(l1=l1, l2=1.0))


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


SMALL_SAMPLES = ModelChoice(cheap_operations=0.0)
FEW_COLUMNS = ModelChoice(wide_with_kinks=0, first_columns=1)
SPARSE = ModelChoice(wide=1, sparse_share=1.0)
matrix_free = partial(StochasticNewton, max_dense=1)

CASES = [
    Case("newton, all rows", StochasticNewton(), named("well-conditioned")),
    Case("newton, started", StochasticNewton(), named("strong signal"), start=True),
    Case("newton, float32", StochasticNewton(), named("scales, float32")),
    Case("newton, softmax", StochasticNewton(), named("softmax 3")),
    Case("newton, targets by column", StochasticNewton(), soft_in_columns),
    Case("newton, warm-up, a sample's steps", StochasticNewton(seed=3, choice=SMALL_SAMPLES), large,
         holds=("taken.residual",)),
    Case("newton, a sample preconditions", StochasticNewton(hessian_rows=10**6, choice=SMALL_SAMPLES), large,
         holds=("taken.",)),
    Case("newton, samples by output", matrix_free(), partial(large, 3), holds=("taken.samples.2.rows", "draw")),
    Case("newton, all rows by output", matrix_free(), named("softmax 5"), holds=("taken.samples.4.weight",)),
    Case("newton, exact steps that leave a little", StochasticNewton(aim=1e-2, max_dense=1), named("thirty columns")),
    Case("newton, ever more rows", StochasticNewton(
        aim=1e-9, exact_below=1e-9, hessian_rows=1, choice=replace(SMALL_SAMPLES, rows_per_column=1)),
        heavy_tails, holds=("growth=16",), after=(2, 3, 5)),
    Case("newton, l1", StochasticNewton(), named("l1")),
    Case("newton, l1, a sample", StochasticNewton(hessian_rows=1, choice=SMALL_SAMPLES),
         named("softmax 5, l1, some columns free")),
    Case("newton, l1, by output", matrix_free(choice=SMALL_SAMPLES), named("softmax 5, l1, some columns free"),
         holds=("draw",)),
    Case("newton, working sets", StochasticNewton(choice=FEW_COLUMNS), named("csr, l1"), holds=("columns",)),
    Case("newton, working sets by output", matrix_free(choice=replace(FEW_COLUMNS, max_columns=3)),
         named("csr, softmax 3, signs, l2"), holds=("columns", "draw")),
    Case("newton, columns with values", StochasticNewton(max_dense=10), empty_columns, holds=("columns", "taken.")),
    Case("newton, diagonal", matrix_free(choice=SPARSE), named("csr, more columns than rows"),
         holds=("taken.diagonal",)),
    Case("newton, the dearer one", matrix_free(choice=replace(SPARSE, cube_per_value=1e9)), nested_levels,
         holds=("dear=True", "taken.samples.0.weight")),
    Case("newton, two threads", StochasticNewton(), partial(large, n=MANY + 9_999),
         {(torchlogit.objective, "CHUNK"): MANY}, threads=2, after=(2,)),
    Case("newton, many chunks", StochasticNewton(), named("softmax 3"), {(torchlogit.objective, "CHUNK"): 100}),
    Case("dual", DualAscent(), named("csr, uneven weights, offsets")),
    Case("dual, elastic net", DualAscent(seed=2), named("elastic net")),
    Case("dual, started, no intercept", DualAscent(), named("no intercept"), start=True),
    Case("dual, two threads", DualAscent(values_per_thread=100), partial(large, n=2000), threads=2, after=(1, 3)),
    Case("softmax ascent", SoftmaxAscent(), named("softmax 3")),
    Case("softmax ascent, started", SoftmaxAscent(seed=1), named("softmax 5, no intercept, weights"), start=True),
    Case("sgd", SGD(0.1), few),
    Case("sgd, averaged", SGD(0.1, shuffle=True, average_after=3), partial(few, 3), holds=("generator",)),
    Case("sgd, momentum, halved", SGD(
        0.1, optimizer=partial(torch.optim.SGD, momentum=0.9),
        scheduler=partial(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.5)), few, holds=("momentum_buffer",)),
    Case("sgd, adam, any function", SGD(
        0.1, shuffle=True, optimizer=torch.optim.Adam,
        scheduler=partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda epoch: 1 / (1 + epoch))),
        few, holds=("exp_avg",), start=True),
    Case("sgd, nadam, one cycle", SGD(
        0.1, optimizer=torch.optim.NAdam,
        scheduler=partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.2, total_steps=20)),
        few, holds=("mu_product",)),
    Case("dog", DoG(), few),
    Case("implicit sgd", ImplicitSGD(), partial(few, l1=0.5)),
    Case("saga", SAGA(), partial(few, 3), start=True),
]  # fmt: skip


@contextmanager
def in_place(case: Case) -> Iterator[None]:
    """The case's constants and threads."""
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), value in case.patches.items():
            patch.setattr(module, name, value)
        torch.set_num_threads(case.threads)
        yield


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
    """The name of every part that is there, whole numbers with their value."""
    parts = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    if tree is not None:
        yield f"{name}={tree}" if isinstance(tree, int) else name
    for key, part in parts:
        yield from names_of(part, f"{name}.{key}")


def equal(one: Any, other: Any) -> bool:
    """Whether two trees are, bit for bit, as files hold them: lists, and names that are text."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(part, other[name]) for name, part in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


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
        for number in case.after:
            resumed = case.solver.resumed(case.objective(), load_tree(tmp_path / f"{number}", "snapshot", 1))
            for later, state in enumerate(islice(resumed, STEPS - 1 - number), start=number + 1):
                assert same(state, states[later]), f"step {later}, from {number}"
                assert state.snapshot is not None
                kept = map_tensors(state.snapshot(), lambda _, tensor: tensor.clone())
                assert equal(kept, load_tree(tmp_path / f"{later}", "snapshot", 1)), f"step {later}, from {number}"
            assert later == STEPS - 1


def test_dual_ascent_goes_on_with_all_that_moves() -> None:
    """More caution on several threads, say, which few tables bring about."""
    objective = few()
    state = next(DualAscent().iterates(objective, None))
    assert state.snapshot is not None
    best = dual_ascent._Primal(objective.start(), objective.raw(objective.start()), 1.0)
    odd = {**state.snapshot(), "allowance": 0.4, "highest": -12.5, "gain": 3.5, "intercept": 0.3, "passes": 4.5}
    odd["best"] = {"theta": best.theta, "raw": best.raw, "value": best.value}
    ascent = dual_ascent._Ascent(objective, None, np.random.default_rng(9), 1)
    ascent.restore(odd)
    assert equal(odd, map_tensors(ascent.snapshot(best), lambda _, tensor: tensor.clone()))
