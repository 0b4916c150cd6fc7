"""torchlogit and its peers with their default settings, asked for the same objective as far as they have it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

Array = NDArray[np.float64]
VW_CONSTANT = 116060  # the index of its intercept among its 2^18 weights
VW_PASSES = 20
ROUNDS = 100  # of gblinear


@dataclass(frozen=True)
class Peer:
    """A library. name: the heading of its column. penalised: whether its l2 penalty is that of F.

    fit(table, start): its coefficients and intercept (1, p + 1) for a table, started from its fit of another table if
    that is given; NotImplementedError where it cannot do that. learn(table, cuts): the same by partial_fit, called
    once for each part of the rows, which are cut at these row numbers.
    """

    name: str
    penalised: bool
    fit: Callable[[Any, Any], Array]
    learn: Callable[[Any, Any], Array] | None = None


def ours(table: Any, start: Any) -> Array:
    """torchlogit.LogisticRegression."""
    from torchlogit import LogisticRegression

    model = LogisticRegression(l1=table.l1, l2=table.l2, penalty_factors=table.factors, warm_start=True)
    return _from(model, table, start)


def ours_in_parts(table: Any, cuts: Any) -> Array:
    """torchlogit.LogisticRegression.partial_fit."""
    from torchlogit import LogisticRegression

    return _learned(LogisticRegression(l2=table.l2), table, cuts)


def lbfgs(table: Any, start: Any) -> Array:
    """scikit-learn's LogisticRegression with its defaults but for max_iter, which is too large to be reached."""
    from sklearn.linear_model import LogisticRegression

    strength = 1 / table.l2 if table.l2 else np.inf
    return _from(LogisticRegression(C=strength, max_iter=100_000, warm_start=True), table, start)


def sgd(table: Any, start: Any) -> Array:
    """SGDClassifier, alpha = l2 / n."""
    from sklearn.linear_model import SGDClassifier

    penalty = {"alpha": table.l2 / len(table.y)} if table.l2 else {"penalty": None}
    return _from(SGDClassifier(loss="log_loss", random_state=0, warm_start=True, **penalty), table, start)


def sgd_in_parts(table: Any, cuts: Any) -> Array:
    """SGDClassifier.partial_fit with shuffle=False; by default it shuffles the rows of each call."""
    from sklearn.linear_model import SGDClassifier

    model = SGDClassifier(loss="log_loss", alpha=table.l2 / len(table.y), shuffle=False)
    return _learned(model, table, cuts)


def _learned(model: Any, table: Any, cuts: Any) -> Array:
    for part in np.split(np.arange(len(table.y)), cuts):
        model.partial_fit(table.X[part], table.y[part], np.unique(table.y), table.weight[part])
    return np.column_stack([model.coef_, model.intercept_])


def _from(model: Any, table: Any, start: Any) -> Array:
    for each in (start, table):
        if each is not None:
            model.fit(each.X, each.y, sample_weight=each.weight)
    return np.column_stack([model.coef_, model.intercept_])


def statsmodels(table: Any, start: Any) -> Array:
    """statsmodels' GLM of the binomial family, which takes frequency weights; Logit takes none."""
    from statsmodels.api import GLM, families

    if sparse.issparse(table.X):
        raise NotImplementedError
    columns = np.column_stack([table.X, np.ones(len(table.y))])
    first = None if start is None else statsmodels(start, None)[0]
    model = GLM(table.y, columns, family=families.Binomial(), freq_weights=table.weight)
    return np.asarray(model.fit(start_params=first).params)[None, :]


def gblinear(table: Any, start: Any) -> Array:
    """xgboost's gblinear with its default updater, lambda = l2 / the total weight."""
    import xgboost

    options = {"booster": "gblinear", "objective": "binary:logistic", "base_score": 0.5, "verbosity": 0}
    model = None
    for each in (start, table):
        if each is not None:
            settings = {**options, "lambda": each.l2 / each.weight.sum(), "nthread": torch.get_num_threads()}
            rows = xgboost.DMatrix(each.X, each.y, weight=each.weight)
            model = xgboost.train(settings, rows, num_boost_round=ROUNDS, xgb_model=model)
    values = np.array([float(word) for word in model.get_dump()[0].split() if not word.endswith(":")])
    return np.append(values[1:], values[0])[None, :]


def vowpal_wabbit(table: Any, start: Any) -> Array:
    """Vowpal Wabbit's default algorithm, 20 passes, no penalty: with --l2 it does not converge to a minimum of F."""
    from vowpalwabbit import Workspace

    if start is not None:
        raise NotImplementedError
    p = table.X.shape[1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.txt"
        with path.open("w") as file:
            for i, (y, weight) in enumerate(zip(table.y, table.weight, strict=True)):
                row = table.X[[i]].toarray()[0] if sparse.issparse(table.X) else table.X[i]
                words = " ".join(f"{j}:{x:.9g}" for j, x in enumerate(row) if x)
                file.write(f"{2 * y - 1} {weight:g} | {words}\n")
        files = f"-d {path} --cache_file {path}.cache -k"
        workspace = Workspace(f"--loss_function logistic --passes {VW_PASSES} --holdout_off --quiet {files}")
        answer = [workspace.get_weight(place) for place in (*range(p), VW_CONSTANT)]
        workspace.finish()
    return np.array([answer])


PEERS = (
    Peer("torchlogit", True, ours, ours_in_parts),
    Peer("LogisticRegression", True, lbfgs),
    Peer("SGDClassifier", True, sgd, sgd_in_parts),
    Peer("statsmodels", False, statsmodels),
    Peer("gblinear", True, gblinear),
    Peer("vw", False, vowpal_wabbit),
)
