"""The problems: each builds its rows, labels and penalty, or says in one phrase what it lacks.

Files that are too large for the repository are looked for in the folder that TORCHLOGIT_DATA names, or else in
`shared/data` beside the repository. Rows are float32, so that a float64 copy of them is the same problem.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray
from pyarrow import csv
from sklearn.preprocessing import OneHotEncoder

ROOT = Path(__file__).resolve().parents[1]
DATA_FOLDER = "TORCHLOGIT_DATA"

Array = NDArray[np.float64]
Matrix = NDArray[np.float32] | NDArray[np.float64]
Labels = NDArray[np.int64]


class MissingDataError(Exception):
    """A problem's data are not here; the message says what is needed."""


@dataclass(frozen=True)
class Problem:
    """F(W, b) = sum of losses + l2 / 2 |W|^2, the intercept b unpenalised (scikit-learn's C = 1 / l2).

    X: (n, p), C order. y: 0 to K - 1, all of them present; K > 2 means softmax. `out_of_the_box`: worth a look at
    what everyone's default settings give.
    """

    name: str
    X: Matrix
    y: Labels
    l2: float
    description: str
    out_of_the_box: bool = False

    @property
    def n_classes(self) -> int:
        """K."""
        return int(self.y.max()) + 1

    def in_precision(self, dtype: DTypeLike) -> Problem:
        """The same problem with X in this precision."""
        return replace(self, X=np.ascontiguousarray(self.X, dtype=dtype))


def _file(path: str) -> Path:
    folder = Path(os.environ.get(DATA_FOLDER) or ROOT.parent / "shared" / "data")
    if not (folder / path).is_file():
        raise MissingDataError(f"needs {path} in the data folder, which {DATA_FOLDER} names")
    return folder / path


def _standardised(X: Array) -> Array:
    """Zero mean and unit variance (ddof 0); a constant column becomes zero."""
    scale = X.std(axis=0)
    standardised: Array = (X - X.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    return standardised


def _float32(X: Array) -> NDArray[np.float32]:
    return np.ascontiguousarray(X, dtype=np.float32)


def synthetic(n_rows: int, n_features: int, n_classes: int, l2: float = 1.0) -> Problem:
    """Normal features with scales from 1 to 10, labels drawn from a model with normal coefficients."""
    random = np.random.default_rng(0)
    X = random.normal(size=(n_rows, n_features)) * np.geomspace(1, 10, n_features)
    raw = X @ random.normal(size=(n_features, n_classes)) / (5 * np.sqrt(n_features))
    y = (raw + random.gumbel(size=raw.shape)).argmax(axis=1)
    words = f"{n_rows:,} x {n_features} generated, {n_classes} classes"
    return Problem("synthetic", _float32(X), y.astype(np.int64), l2, words)


def _tiny() -> Problem:
    return replace(synthetic(300, 4, 2), name="tiny", out_of_the_box=True)


def _tiny3() -> Problem:
    return replace(synthetic(300, 4, 3), name="tiny3")


def _adult() -> Problem:
    table = csv.read_csv(ROOT / "examples" / "adult" / "adult-train.csv.gz")
    target = table["income"].to_numpy(zero_copy_only=False)
    table = table.drop_columns(["income"])
    words = [name for name in table.column_names if pa.types.is_string(table[name].type)]
    numbers = [name for name in table.column_names if name not in words]
    numeric = np.column_stack([table[name].to_numpy().astype(np.float64) for name in numbers])
    levels = np.column_stack([table[name].to_numpy(zero_copy_only=False).astype(object) for name in words])
    X = np.hstack([_standardised(numeric), OneHotEncoder(sparse_output=False).fit_transform(levels)])
    return Problem(
        "adult",
        _float32(X),
        (target == ">50K").astype(np.int64),
        1.0,
        f"{X.shape[0]:,} x {X.shape[1]}, income above 50,000 dollars: numbers standardised, all levels one-hot, l2=1",
    )


def _covtype_train() -> tuple[Array, Labels]:
    """Nine tenths of the cover types, features as they are, labels 0 to 6."""
    table = csv.read_csv(_file("covtype/covtype.csv.gz"))
    values = np.column_stack([column.to_numpy() for column in table.columns])
    test = np.random.RandomState(13).rand(len(values)) < 58101 / 581012  # the published split
    train = values[~test]
    return train[:, :-1].astype(np.float64), train[:, -1].astype(np.int64) - 1


def _covtype() -> Problem:
    X, y = _covtype_train()
    words = "522,907 x 54, cover type 1 against the rest, standardised, l2=1"
    return Problem("covtype", _float32(_standardised(X)), (y == 0).astype(np.int64), 1.0, words)


def _covtype_raw() -> Problem:
    X, y = _covtype_train()
    words = "522,907 x 54, cover type 1 against the rest, columns as they are (metres, degrees, 0/1), l2=1"
    return Problem("covtype_raw", _float32(X), (y == 0).astype(np.int64), 1.0, words)


def _covtype7() -> Problem:
    X, y = _covtype_train()
    return Problem("covtype7", _float32(_standardised(X)), y, 1.0, "522,907 x 54, 7 cover types, standardised, l2=1")


def _age_salary_rows() -> tuple[Array, Labels]:
    """The textbook's kind of table, generated: who of 400 bought, by age and salary."""
    random = np.random.default_rng(0)
    age = random.integers(18, 60, 400).astype(float)
    salary = random.integers(15, 150, 400) * 1000.0
    p = 1 / (1 + np.exp(-(0.23 * (age - 38) + 3.6e-5 * (salary - 70000))))
    return np.column_stack([age, salary]), (random.random(400) < p).astype(np.int64)


def _age_salary() -> Problem:
    X, y = _age_salary_rows()
    return Problem(
        "age_salary", _float32(X), y, 0.0, "400 x 2, generated: age and salary as they are, no penalty", True
    )


def _age_salary_standardised() -> Problem:
    X, y = _age_salary_rows()
    words = "400 x 2: age_salary standardised, no penalty"
    return Problem("age_salary_standardised", _float32(_standardised(X)), y, 0.0, words, True)


def _age_salary_units() -> Problem:
    X, y = _age_salary_rows()
    words = "400 x 2: age_salary with age times 1e-6 and salary times 1e6, no penalty"
    return Problem("age_salary_units", _float32(X * [1e-6, 1e6]), y, 0.0, words, True)


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "age_salary": _age_salary,
    "age_salary_standardised": _age_salary_standardised,
    "age_salary_units": _age_salary_units,
    "adult": _adult,
    "covtype": _covtype,
    "covtype_raw": _covtype_raw,
    "covtype7": _covtype7,
    "tiny": _tiny,
    "tiny3": _tiny3,
}
BY_DEFAULT = tuple(name for name in PROBLEMS if not name.startswith("tiny"))
