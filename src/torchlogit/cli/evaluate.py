"""torchlogit evaluate: how well a model predicts a table."""

from __future__ import annotations

import json

import click

from torchlogit.cli.rows import Rows, measure
from torchlogit.cli.tables import DATA, MODEL, header_options, located, read


@click.command("evaluate", short_help="Measure a model on a table that has the target column.")
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
    """Measure MODEL on the rows of DATA: log loss, accuracy, AUC and Brier score.

    Example: torchlogit evaluate people.safetensors test.csv
    """
    from torchlogit.cli.predict import encoded_rows
    from torchlogit.cli.summary import metrics_table
    from torchlogit.data.labels import check_labels
    from torchlogit.data.weights import weights_of
    from torchlogit.errors import InputError
    from torchlogit.model import LogisticModel

    loaded = LogisticModel.load(model)
    column = target or loaded.facts.target
    if column is None:
        raise InputError(f"{model} does not say which column it predicts; name it with --target")
    table = read(data, no_header, names)
    with located(table.origin):
        codes = check_labels(table.table, column, loaded.classes)
        by_weight = weights_of(table.table, weight)
    encoded = encoded_rows(loaded, table)
    metrics = measure(loaded, Rows(encoded.values, codes, by_weight))
    if as_json:
        click.echo(json.dumps(metrics.as_json()))
    else:
        click.echo(metrics_table({table.origin.files: metrics}))
