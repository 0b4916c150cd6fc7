"""A file as the two things that a pipeline is fitted on."""

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
    """The columns of a file besides the target, and the target's labels, (n,), as `torchlogit train` reads them.

    The file is CSV, TSV, JSON lines, Parquet or svmlight, which has a target of its own. Labels are numbers where all
    of them are, truths, or texts; numbers in [0, 1], some strictly between, are probabilities. Raises DataError, naming
    file and row, for what cannot be read.

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
        names = examples(block.table.column_names, most=10)
        raise DataError(f"{path}: the target is not given; expected the name of its column, one of {names}")
    with block.locating_errors():
        return without_target(block.table, target)


def without_target(table: pa.Table, target: str) -> tuple[pa.Table, NDArray[Any]]:
    """The other columns of a table, and the labels or the probabilities in this one, (n,)."""
    numbers = as_numbers(table.column(target)) if target in table.column_names else None
    if numbers is not None and probabilities(numbers) is not None:
        return table.drop_columns([target]), numbers
    labels = learn_labels(table, target)
    return table.drop_columns([target]), np.array(labels.classes)[labels.codes]
