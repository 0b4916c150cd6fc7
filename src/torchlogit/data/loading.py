"""Loads a file as a table of features and an array of targets, for scikit-learn's estimators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from torchlogit.data.columns import as_numbers
from torchlogit.data.labels import learn_labels
from torchlogit.data.reading.source import open_source
from torchlogit.data.targets import probabilities
from torchlogit.data.wording import examples
from torchlogit.errors import DataError


def load_table(path: str | Path, target: str | None = None) -> tuple[pa.Table, NDArray[Any]]:
    """Load a file as a table of features and the labels of its target column.

    Parameters
    ----------
    path
        A CSV, TSV, JSON lines, Parquet, Arrow or svmlight file; or anything else that `torchlogit train` reads.
    target
        Name of the target column. It may be left out for svmlight files, whose label is the target.

    Returns
    -------
    X : pyarrow.Table
        The other columns.
    y : ndarray of shape (n,)
        The labels: numbers if all of them are numbers, else booleans or texts. Numbers between 0 and 1, at least one of
        them strictly between, are probabilities of class 1, the other class being 0.

    Raises
    ------
    DataError
        If the file cannot be read, or the target has missing values. The message names the file and the row.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "people.csv")
    >>> _ = path.write_text("age,job,bought\\n39,clerk,no\\n50,?,yes\\n")
    >>> X, y = load_table(path, "bought")
    >>> X.column_names, y.tolist()
    (['age', 'job'], ['no', 'yes'])
    >>> folder.cleanup()
    """
    source = open_source([path])
    target = source.target if target is None else target
    block = source.read()
    if target is None:
        names = examples(block.table.column_names, limit=10)
        raise DataError(f"{path}: the target is not given; expected the name of its column, one of {names}")
    with block.locating_errors():
        return without_target(block.table, target)


def without_target(table: pa.Table, target: str) -> tuple[pa.Table, NDArray[Any]]:
    """The other columns of a table; and the labels in the target column, or its numbers if they are probabilities."""
    numbers = as_numbers(table.column(target)) if target in table.column_names else None
    if numbers is not None and probabilities(numbers) is not None:
        return table.drop_columns([target]), numbers
    labels = learn_labels(table, target)
    return table.drop_columns([target]), np.array(labels.classes)[labels.codes]
