"""torchlogit train: from a table to a model file and a report."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from torchlogit.cli.options import DATA, header_options

if TYPE_CHECKING:
    from torchlogit.cli.printed import TrainReport
    from torchlogit.cli.train_options import TrainOptions

SOLVERS = ["auto", "newton", "dual", "streaming", "sgd"]  # those of training.settings, which --help does not import
MAX_THREADS = 1024  # the largest value of --threads; OpenMP crashes with tens of thousands of threads


class Strength(click.FloatRange):
    """The type of --l2: a number that is not negative, or auto."""

    name = "NUMBER|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or auto."""
        if value == "auto":
            return value
        try:
            return super().convert(float(value), param, ctx)
        except ValueError:
            self.fail(f"{value!r}: expected a number that is not negative, or auto.", param, ctx)


@click.command("train")
@DATA
@click.option("--target", metavar="COLUMN",
              help="The column to predict: two classes or several [default: the label of svmlight files].")  # fmt: skip
@click.option("-o", "--output", metavar="MODEL", help="The model file to write [default: DATA's name].")
@click.option("--valid", metavar="DATA", multiple=True, help="A table to measure the model on; may be repeated.")
@click.option("--holdout", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="SHARE",
              help="Measure on this share of the rows, drawn at random, and train on the rest.")  # fmt: skip
@click.option("--l1", type=click.FloatRange(0), default=0.0, show_default=True,
              help="Penalty l1 |coef|, added to the l2 penalty; it sets coefficients to 0.")  # fmt: skip
@click.option("--l2", type=Strength(0), default=1.0, show_default=True, metavar="NUMBER",
              help="Penalty: F = sum of losses + l2/2 |coef|^2; 0 for none, auto to let the data choose.")  # fmt: skip
@click.option("--tol", type=click.FloatRange(0, min_open=True), default=1e-6, show_default=True,
              help="Stop once F is proven to be within this share of its minimum.")  # fmt: skip
@click.option("--max-iter", type=click.FloatRange(0, min_open=True), default=200, show_default=True,
              help="Stop after this many passes over the rows.")  # fmt: skip
@click.option("--time-budget", metavar="SECONDS", help="Stop after this time: 60, 60s, 5m or 1h.")
@click.option("--solver", type=click.Choice(SOLVERS), default="auto", show_default=True, metavar="SOLVER",
              help="auto, newton, dual, streaming (one pass) or sgd.")  # fmt: skip
@click.option("--weight", metavar="COLUMN", help="A column of weights: a row of weight 2 counts as two rows.")
@click.option("--class-weight", type=click.Choice(["balanced"]), help="Give every class the same total weight.")
@click.option("--positive", metavar="LABEL", help="The class whose probability is modelled, of two.")
@click.option("--drop", metavar="A,B,...", help="Columns to leave out.")
@click.option("--numeric", metavar="A,B,...", help="Columns to read as numbers.")
@click.option("--categorical", metavar="A,B,...", help="Columns to read as categories.")
@click.option("--text", metavar="A,B,...", help="Columns of texts, to read as words in tf-idf.")
@click.option("--cross", metavar="A:B", multiple=True, help="Pairs of levels as categories; may be repeated.")
@click.option(
    "--hash-bits", type=click.IntRange(1, 24), metavar="N", help="Hash categories and words, into 2^N features."
)
@header_options
@click.option("--sample-rows", type=click.IntRange(1), metavar="N",
              help="Learn the columns and their levels from the first N rows only.")  # fmt: skip
@click.option("--cache", metavar="DIR", help="Store the encoded rows in this folder, to reuse them in later runs.")
@click.option("--no-cache", is_flag=True, help="Store no encoded rows: read and encode DATA again for every pass.")
@click.option("--checkpoint", metavar="DIR", help="Save the progress of the fit in this folder, for --resume.")
@click.option("--update", metavar="MODEL", help="Train this model further on DATA, reading each row once.")
@click.option("--resume", is_flag=True, help="Continue from the progress saved in the --checkpoint folder, if any.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True,
              help="Seed of the random holdout and of the solver's random samples.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1, MAX_THREADS), help="The number of threads [default: all].")
@click.option("--device", metavar="DEVICE", default="auto", show_default=True,
              help="The device to compute on: cpu, cuda, cuda:1.")  # fmt: skip
@click.option("--require-certificate", is_flag=True, help="Exit with 3 where the answer is not certified.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def command(**given: Any) -> None:
    """Train a model on DATA, and write it to one file.

    DATA: .csv .tsv .jsonl .svm (each also .gz .zst) .parquet .arrow .feather, globs and folders of them, - for standard
    input, or a query, sql:SELECT ... They may be larger than memory.

    The kind of each column is inferred from its values: numbers are standardised, text becomes one-hot categories,
    missing values (empty, NA, NaN, null, ?) are handled. There is nothing to tune: the report gives a proven bound on
    how far the objective is above its minimum.

    Example: torchlogit train people.csv --target income --holdout 0.2
    """
    from torchlogit.cli.train_options import TrainOptions

    options = TrainOptions(**given)
    options.check()
    report = _train(options)
    if options.as_json:
        click.echo(json.dumps(_as_json(report), ensure_ascii=False))
    elif not options.quiet:
        from torchlogit.cli.printed import printed

        click.echo(printed(report))
    if options.require_certificate and report.fitted.certificate.status != "certified":
        sys.exit(3)


def _train(options: TrainOptions) -> TrainReport:
    """Trains according to the options: updates a saved model, or fits in one pass or in several passes."""
    from torchlogit.cli.fitting import fit_table
    from torchlogit.cli.one_pass import stream_table, update_model
    from torchlogit.cli.workspace import Workspace

    table, workspace = options.source(), Workspace.of(options)
    if options.threads is not None:
        import torch

        torch.set_num_threads(options.threads)
    warnings = [] if options.no_header or options.names else _warn_of_missing_header(table.column_names)
    if options.update is not None:
        _refuse_with_update(click.get_current_context(), options)
        return update_model(options, table, warnings)
    plan = options.plan(options.target_in(table))
    if options.solver == "streaming":
        _refuse_with_streaming(options)
        return stream_table(options, table, plan, warnings)
    return fit_table(options, table, plan, workspace, warnings)


def _as_json(report: TrainReport) -> dict[str, Any]:
    """The object that --json prints; objective and bound are sums over the rows, in nats."""
    certificate, facts = report.fitted.certificate, report.model.facts
    return {
        "status": str(certificate.status),
        "objective": certificate.objective,
        "bound": certificate.bound,
        "relative_bound": certificate.relative_bound,
        "l2": facts.penalty["l2"],
        "passes": report.fitted.passes,
        "seconds": report.fitted.seconds,
        "rows": facts.training_data["rows"],
        "features": len(report.model.feature_names),
        "classes": list(report.model.classes),
        "metrics": {name: metrics.as_json() for name, metrics in report.metrics.items()},
        "model": report.path,
        "warnings": list(report.warnings),
    }


def _warn_of_missing_header(names: Sequence[str]) -> list[str]:
    """A warning if column names look like numbers, since the file may have no header row; else no warning."""
    import pyarrow as pa

    from torchlogit.data.columns import look_like_numbers
    from torchlogit.data.wording import examples

    numbers = pa.array(names).filter(look_like_numbers(pa.array(names))).to_pylist()
    if not numbers:
        return []
    return [f"columns are called {examples(numbers)}; if this is the first row and no header, give --no-header"]


# Options that --update refuses: the saved model fixes them, or training in one pass does not use them.
FIXED_BY_MODEL = ("solver", "l1", "l2", "positive", "class_weight", "cross", "hash_bits", "sample_rows", "holdout",
                  "valid", "cache", "no_cache", "checkpoint", "resume", "tol", "max_iter", "time_budget")  # fmt: skip


def _refuse_with_update(context: click.Context, options: TrainOptions) -> None:
    given = [name for name in FIXED_BY_MODEL if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    given += [name for name, columns in options.roles.items() if columns]
    if given:
        option = "--" + given[0].replace("_", "-")
        raise click.UsageError(f"--update keeps the settings that the model was trained with; leave {option} out.")


def _refuse_with_streaming(options: TrainOptions) -> None:
    """Raises UsageError for options that have no meaning when every row is read once."""
    measured = "predicts every row before it learns from it; leave it out, and use evaluate for other rows"
    kept = "reads every row once and stores none; leave it out, and continue later with --update MODEL"
    refused = {
        "--holdout": (options.holdout is not None, measured),
        "--valid": (bool(options.valid), measured),
        "--cache": (options.cache is not None, kept),
        "--no-cache": (options.no_cache, kept),
        "--checkpoint": (options.checkpoint is not None, kept),
    }
    for option, (given, why) in refused.items():
        if given:
            raise click.UsageError(f"{option}: --solver streaming {why}.")
