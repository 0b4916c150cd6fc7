"""What "auto" chooses, and that every name is a solver that fits."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch

from torchlogit.design import Dense, Sparse
from torchlogit.fit import Goal, fit
from torchlogit.losses import Loss, loss_for
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Status
from torchlogit.solvers.choice import BY_NAME, automatic
from torchlogit.solvers.dual.dual_ascent import DualAscent
from torchlogit.solvers.dual.softmax_ascent import SoftmaxAscent
from torchlogit.solvers.newton.stochastic_newton import StochasticNewton


def objective_of(
    penalty: ElasticNet, *, d: int = 4000, n_classes: int = 2, dense: bool = False, size: float = 1.0
) -> Objective:
    """Rows of five values of about this size, in d columns."""
    rng, n = np.random.default_rng(0), 1500
    indices, values = rng.integers(0, d, (n, 5)), size * rng.standard_normal((n, 5))
    x = scipy.sparse.coo_array((values.ravel(), (np.repeat(np.arange(n), 5), indices.ravel())), shape=(n, d)).tocsr()
    y = rng.integers(0, n_classes, n)
    loss: Loss = loss_for(n_classes)
    target = y[:, None] if n_classes == 2 else np.eye(n_classes)[y]
    design = Dense.of(torch.from_numpy(x.toarray())) if dense else Sparse.of(x)
    return Objective.of(design, torch.from_numpy(target), loss=loss, penalty=penalty)


FACTORS = torch.ones(4000, dtype=torch.float64)
UNHELD = torch.cat([FACTORS[1:], torch.zeros(1, dtype=torch.float64)])


@pytest.mark.parametrize(
    ("objective", "kind"),
    [
        (objective_of(ElasticNet(l2=1.0)), DualAscent),
        (objective_of(ElasticNet(l1=1.0, l2=1.0)), DualAscent),
        (objective_of(ElasticNet(l2=1.0, factors=FACTORS)), DualAscent),
        (objective_of(ElasticNet(l2=1.0), n_classes=3), SoftmaxAscent),
        (objective_of(ElasticNet(l2=1.0), d=1000), StochasticNewton),
        (objective_of(ElasticNet(l2=1.0), d=1000, n_classes=4), SoftmaxAscent),
        (objective_of(ElasticNet(l2=1.0), dense=True), StochasticNewton),
        (objective_of(ElasticNet(l2=1e-4)), StochasticNewton),
        (objective_of(ElasticNet(l2=1.0), size=100.0), StochasticNewton),
        (objective_of(ElasticNet(l2=100.0), size=10.0), DualAscent),
        (objective_of(ElasticNet()), StochasticNewton),
        (objective_of(ElasticNet(l1=1.0)), StochasticNewton),
        (objective_of(ElasticNet(l2=1.0, factors=UNHELD)), StochasticNewton),
        (objective_of(ElasticNet(l2=1.0, lower=0 * FACTORS)), StochasticNewton),
        (objective_of(ElasticNet(l1=1.0, l2=1.0), n_classes=3), StochasticNewton),
    ],
)
def test_auto(objective: Objective, kind: type) -> None:
    assert type(automatic(objective, 0, 1e-6)) is kind


@pytest.mark.parametrize("name", ["auto", "newton", "dual"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_every_name_reaches_the_same_optimum(name: str, n_classes: int) -> None:
    objective = objective_of(ElasticNet(l2=1.0), d=800, n_classes=n_classes)
    best = fit(objective, StochasticNewton(), Goal(tol=1e-10)).certificate.objective
    result = fit(objective, BY_NAME[name](objective, 0, 1e-8), Goal(tol=1e-8))
    assert result.certificate.status is Status.CERTIFIED
    assert result.certificate.objective == pytest.approx(best, rel=2e-8)
