"""torchlogit predict: a model and a table in, a table of predictions out."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from torchlogit.cli.tables import DATA, MODEL, header_options, located, read, refuse_overwriting

if TYPE_CHECKING:
    import pyarrow as pa

    from torchlogit.data.encoder import Encoded
    from torchlogit.data.tables import LoadedTable
    from torchlogit.model import LogisticModel


@click.command("predict", short_help="Predict a table's rows with a model.")
@MODEL
@DATA
@click.option("-o", "--output", metavar="OUT", default="-", help="Where to write: .csv, .parquet, or - [default: -].")
@header_options
def command(model: str, data: tuple[str, ...], output: str, no_header: bool, names: str | None) -> None:
    """Predict the rows of DATA with MODEL: a row each, in order, its likeliest class and every class's probability.

    Example: torchlogit predict people.safetensors new.csv -o predictions.csv
    """
    from torchlogit.errors import InputError
    from torchlogit.model import LogisticModel
    from torchlogit.storage import write_atomically

    if output != "-" and not output.endswith((".csv", ".parquet")):
        raise InputError(f"{output}: predictions are written as .csv or .parquet; give such a name, or -")
    if output != "-":
        refuse_overwriting(Path(output), (model, *data))
    loaded = LogisticModel.load(model)
    table = read(data, no_header, names)
    predictions = _predictions(loaded, encoded_rows(loaded, table))
    if output == "-":
        sys.stdout.buffer.write(_as_csv(predictions))
    else:
        content = _as_parquet(predictions) if output.endswith(".parquet") else _as_csv(predictions)
        write_atomically(Path(output), content)


def encoded_rows(model: LogisticModel, table: LoadedTable) -> Encoded:
    """The table's rows as the model's features; what deserves a look goes to standard error."""
    from torchlogit.errors import InputError

    if model.encoder is None:
        raise InputError("the model was trained on an array, not on a table; use it from Python")
    with located(table.origin):
        encoded = model.encoder.encode(table.table)
    for notice in (*table.notices, *(f"{table.origin.files}: {notice}" for notice in encoded.notices)):
        click.echo(f"torchlogit: {notice}", err=True)
    return encoded


def _predictions(model: LogisticModel, encoded: Encoded) -> pa.Table:
    """Columns: prediction, and probability_CLASS for every class."""
    import pyarrow as pa

    from torchlogit.model import probabilities

    raw = model.raw_of(encoded.values)
    columns = {"prediction": pa.array(model.likeliest(raw).tolist())}
    for label, column in zip(model.classes, probabilities(raw).T, strict=True):
        columns[f"probability_{label}"] = pa.array(column)
    return pa.table(columns)


def _as_csv(table: pa.Table) -> bytes:
    import pyarrow.csv as pacsv

    buffer = io.BytesIO()
    pacsv.write_csv(table, buffer, pacsv.WriteOptions(quoting_style="needed"))
    return buffer.getvalue()


def _as_parquet(table: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()
