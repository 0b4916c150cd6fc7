"""torchlogit evaluate: measures a model on a table's rows, with memory that does not grow with their number."""

from __future__ import annotations

import json
from contextlib import closing
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import click

from torchlogit.cli.measuring import sums_of
from torchlogit.cli.options import DATA, MODEL, header_options, source

if TYPE_CHECKING:
    from torchlogit.data.block import Block
    from torchlogit.data.encoded_rows import EncodedRows
    from torchlogit.data.encoding.features import Matrix
    from torchlogit.data.reading.source import Source
    from torchlogit.metrics import Metrics
    from torchlogit.model import LogisticModel


@click.command("evaluate")
@MODEL
@DATA
@click.option("--target", metavar="COLUMN", help="The column with the truth [default: the model's target].")
@click.option("--weight", metavar="COLUMN", help="A column of weights.")
@header_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def command(
    model: str,
    data: tuple[str, ...],
    target: str | None,
    weight: str | None,
    no_header: bool,
    names: str | None,
    as_json: bool,
) -> None:
    """Measure MODEL on the rows of DATA: log loss, accuracy, AUC, Brier score and calibration.

    Example: torchlogit evaluate people.safetensors test.csv
    """
    from torchlogit.cli.printed import metrics_table
    from torchlogit.errors import InputError
    from torchlogit.model import LogisticModel

    loaded = LogisticModel.load(model)
    column = target or loaded.facts.target
    if column is None:
        raise InputError(f"{model} does not say which column it predicts; name it with --target")
    rows = source(data, no_header, names)
    metrics = evaluate(loaded, rows, column, weight)
    if as_json:
        click.echo(json.dumps(metrics.as_json()))
    else:
        click.echo(metrics_table({rows.files: metrics}))


def evaluate(model: LogisticModel, rows: Source, target: str, weight: str | None) -> Metrics:
    """The model's metrics on a source's rows; warnings go to standard error."""
    from torchlogit.cli.encoded import EncodedBlocks
    from torchlogit.data.encoded_rows import EncodedRows
    from torchlogit.data.labels import check_labels
    from torchlogit.data.weights import no_weight, weights_in
    from torchlogit.errors import DataError

    def checked(block: Block, features: Matrix) -> EncodedRows:
        codes = check_labels(block.table, target, model.classes)
        return EncodedRows(features, codes, None if weight is None else weights_in(block.table, weight))

    blocks = EncodedBlocks(model, rows, also=[target] if weight is None else [target, weight])
    with closing(blocks.map(checked)) as parts:
        first = next(parts, None)
        if first is None:
            raise DataError(f"{rows.files} has no rows; give a file with rows")
        sums = reduce(add, (sums_of(model, part) for part in parts), sums_of(model, first))
    if weight is not None and not sums.weight:
        raise no_weight(weight).at(rows.files)
    blocks.print_warnings()
    return sums.result()
