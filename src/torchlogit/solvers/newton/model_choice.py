"""The choice of a quadratic model by the shape of a problem, and of the rows that it is built from.

Up to some thousand parameters the Hessian is formed, of all rows where that is cheap and of a sample elsewhere. With
more, conjugate gradients on all rows need no matrix; a sample preconditions them. With l1 or bounds on many columns the
same models are built of a working set of the columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch

from torchlogit.objective import Objective
from torchlogit.solvers.newton.curvature import ByOutput, Diagonal, SampleHessian
from torchlogit.solvers.newton.models import AllRows, BlocksWithKinks, SampleWithKinks
from torchlogit.solvers.newton.preconditioned import Preconditioned
from torchlogit.solvers.newton.sampling import Sampler
from torchlogit.solvers.newton.step import NewtonModel
from torchlogit.solvers.newton.working_set import WorkingSet, occupied, occupied_columns, promising_columns

SampleSource = Callable[[], Sampler]  # makes the sampler when it is first asked for: it costs a pass


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The thresholds between the models. They decide how fast a fit gets to the optimum, not where that is.

    >>> ModelChoice(wide=10_000).rows_per_column
    4
    """

    # Multiplications for the Hessian of a sample, over those of one product X theta, up to which they take less time
    # than reading X. Larger: larger samples, whose steps are better and take longer (docs/decisions/0001).
    cheap_operations: float = 8.0
    # The same for a sample of `hessian_rows` rows per parameter, whose steps save conjugate gradients on all rows.
    # Larger: more problems are solved by samples alone (docs/decisions/0001).
    operations_saved: float = 96.0
    # Rows per parameter above which more rows make no better step (docs/decisions/0001).
    ample_rows: int = 1000
    # The share of all rows from which a sample saves too little, and the Hessian is that of all rows. Larger: samples
    # even where they save little.
    all_rows_share: float = 0.4
    # Rows per column of a sample that preconditions. Larger: fewer products, a costlier factor (docs/decisions/0009).
    rows_per_column: int = 4
    # Columns above which a preconditioner is built from only `wide` rows, fewer than columns, and factored by their
    # Gram matrix. Larger: larger matrices are factored, in time that grows with their cube (docs/decisions/0009).
    wide: int = 2500
    # Columns above which l1 and bounds are solved on working sets of the columns (docs/decisions/0012).
    wide_with_kinks: int = 2500
    # The share of values other than zero up to which the diagonal preconditions more than `wide` columns. Larger: the
    # diagonal is tried on denser rows, whose columns overlap more.
    sparse_share: float = 1 / 16
    # Once the diagonal takes too many products, the Hessian blocks of all rows are factored instead, if the cube of the
    # columns is at most `cube`, or at most `cube_per_value` times the number of values of X: about a second of work.
    # Larger: factored for wider X (docs/decisions/0012).
    cube_per_value: float = 3e4
    cube: float = 1e11
    # Entries of the factors of all outputs together, 4 bytes each, up to which they are formed: 512 MiB.
    factor_entries: int = 1 << 27
    # Columns of the first working set, and of any: its Hessian takes time and memory with their square. Larger: fewer
    # and costlier steps (docs/decisions/0012).
    first_columns: int = 100
    max_columns: int = 4000


DEFAULT = ModelChoice()


def model_for(
    objective: Objective,
    sampler: SampleSource,
    *,
    hessian_rows: int,
    max_dense: int,
    growth: int,
    choice: ModelChoice = DEFAULT,
) -> NewtonModel:
    """The model that is the cheapest for this objective.

    Parameters
    ----------
    objective : Objective
        F of all rows. Only its shape, its sparsity and the kind of its penalty are looked at.
    sampler : callable
        Returns the sampler of the rows.
    hessian_rows : int
        Rows per parameter from which a sample's step is used without conjugate gradients.
    max_dense : int
        The number of free parameters up to which a Hessian is formed.
    growth : int
        A factor on the number of rows that follows from the shape.
    choice : ModelChoice
        The thresholds.
    """
    p, smooth = objective.design.shape[1], objective.penalty.smooth
    build = partial(
        _smooth_model if smooth else _model_with_kinks, hessian_rows=hessian_rows, growth=growth, choice=choice
    )
    if not smooth and p > choice.wide_with_kinks:
        columns = partial(promising_columns, first=choice.first_columns, most=choice.max_columns)
        formed = max(max_dense, choice.max_columns + 1)  # for two classes, the Hessian of any working set
        return WorkingSet(columns, lambda part: build(part, _own_sampler(part), max_dense=formed))
    if p > choice.wide and int(occupied(objective).sum()) <= p / 2:
        return WorkingSet(occupied_columns, lambda part: build(part, _own_sampler(part), max_dense=max_dense))
    return build(objective, sampler, max_dense=max_dense)


def sample_rows(objective: Objective, hessian_rows: int, max_dense: int, choice: ModelChoice = DEFAULT) -> int:
    """The number of rows that the Hessian is estimated from.

    They are enough for a preconditioner, and, where that is not too costly, for steps by the sample alone.
    """
    n, p = objective.design.shape
    n_free, size = objective.n_free, objective.n_parameters
    rows = choice.rows_per_column * p if p <= choice.wide else choice.wide
    if size > max_dense:
        return min(n, rows)
    # With rows of w values, X theta takes n w n_free multiplications, and the Hessian of m rows
    # m w^2 n_free (n_free + 1) / 2.
    width = objective.design.n_values / n + objective.design.has_intercept
    rows_of_one_product = n * 2 / (max(1.0, width) * (n_free + 1))
    rows = max(rows, int(min(choice.cheap_operations * rows_of_one_product, choice.ample_rows * size)))
    if hessian_rows * size <= choice.operations_saved * rows_of_one_product:
        rows = max(rows, hessian_rows * size)
    return min(n, rows)


def _own_sampler(objective: Objective) -> SampleSource:
    """A sampler of these columns, made on first use."""
    return cache(lambda: Sampler.of(objective, torch.Generator().manual_seed(objective.design.shape[1])))


def _smooth_model(
    objective: Objective, sampler: SampleSource, *, hessian_rows: int, max_dense: int, growth: int, choice: ModelChoice
) -> NewtonModel:
    """The model under a smooth penalty."""
    (n, p), size, n_values = objective.design.shape, objective.n_parameters, objective.design.n_values
    rows = sample_rows(objective, hessian_rows, max_dense, choice)
    if size <= max_dense and growth * rows >= choice.all_rows_share * n:
        return AllRows()
    if size <= max_dense and rows >= hessian_rows * size and growth == 1:
        return Preconditioned(SampleHessian(*sampler().sample(rows)), True, max_dense)
    if p > choice.wide and n_values <= choice.sparse_share * n * p:
        affordable = p**3 <= max(choice.cube, choice.cube_per_value * n_values) and size * p <= choice.factor_entries
        costlier = ByOutput(sampler, n, choice.wide) if affordable else None
        return Preconditioned(Diagonal(), False, max_dense, costlier)
    return Preconditioned(ByOutput(sampler, min(n, growth * rows), choice.wide), False, max_dense, seed=rows)


def _model_with_kinks(
    objective: Objective, sampler: SampleSource, *, hessian_rows: int, max_dense: int, growth: int, choice: ModelChoice
) -> NewtonModel:
    """The model under a penalty with kinks or bounds."""
    (n, p), size = objective.design.shape, objective.n_parameters
    formed = size <= max_dense
    rows = max(sample_rows(objective, hessian_rows, max_dense, choice), hessian_rows * (size if formed else p))
    if formed and growth * rows >= choice.all_rows_share * n:
        return AllRows()
    if formed:
        return SampleWithKinks(*sampler().sample(growth * rows))
    return BlocksWithKinks(ByOutput(sampler, min(n, growth * rows), choice.wide), seed=rows)
