"""torchlogit predict: predicts a table's rows, in order, with memory that does not grow with their number."""

from __future__ import annotations

from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from torchlogit.cli.options import DATA, MODEL, header_options, refuse_overwriting, source
from torchlogit.cli.output import STANDARD_OUTPUT, check_suffix, writing

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from torchlogit.data.reading.source import Source
    from torchlogit.model import LogisticModel


@click.command("predict")
@MODEL
@DATA
@click.option("-o", "--output", metavar="OUT", default=STANDARD_OUTPUT,
              help="Where to write: .csv, .csv.gz, .csv.zst, .parquet, or - [default: -].")  # fmt: skip
@header_options
def command(model: str, data: tuple[str, ...], output: str, no_header: bool, names: str | None) -> None:
    """Predict the rows of DATA with MODEL: a row each, in order, its likeliest class and every class's probability.

    Example: torchlogit predict people.safetensors new.csv -o predictions.csv
    """
    from torchlogit.model import LogisticModel

    check_suffix(output)
    if output != STANDARD_OUTPUT:
        refuse_overwriting(Path(output), (model, *data))
    predict(LogisticModel.load(model), source(data, no_header, names), output)


def predict(model: LogisticModel, rows: Source, output: str) -> None:
    """Writes the predictions of a source's rows; warnings go to standard error."""
    import numpy as np

    from torchlogit.cli.encoded import EncodedBlocks

    empty = predictions(model, np.empty((0, len(model.outputs))))
    blocks = EncodedBlocks(model, rows)
    with closing(blocks.map(lambda _, features: predictions(model, model.raw_of(features)))) as tables:
        first = next(tables, empty)  # before the output is opened: most faults are in the first rows already
        with writing(output, empty.schema) as write:
            for table in chain([first], tables):
                write(table)
    blocks.print_warnings()


def predictions(model: LogisticModel, raw: NDArray[np.float64]) -> pa.Table:
    """A table with a column `prediction`, and a column `probability_CLASS` for every class."""
    import pyarrow as pa

    from torchlogit.prediction import likeliest, probabilities

    columns = {"prediction": pa.array(model.classes).take(pa.array(likeliest(raw)))}
    for label, column in zip(model.classes, probabilities(raw).T, strict=True):
        columns[f"probability_{label}"] = pa.array(column)
    return pa.table(columns)
