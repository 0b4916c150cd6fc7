"""torchlogit train: a table in, a certified model out."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from click.core import ParameterSource

from torchlogit.cli.fitting import Keeping, trained
from torchlogit.cli.one_pass import streamed, updated
from torchlogit.cli.options import DATA, header_options, refuse_overwriting, source, split
from torchlogit.cli.penalty import Strength

if TYPE_CHECKING:
    from torchlogit.cli.printed import Run
    from torchlogit.data.reading.source import Source

SOLVERS = ["auto", "newton", "dual", "streaming", "sgd"]
MOST_THREADS = 1024  # tens of thousands crash OpenMP


@click.command("train", short_help="Train a model on a table.")
@DATA
@click.option("--target", metavar="COLUMN",
              help="The column to predict: two classes or several [default: the label of svmlight files].")  # fmt: skip
@click.option("-o", "--output", metavar="MODEL", help="The model file to write [default: DATA's name].")
@click.option("--valid", metavar="DATA", multiple=True, help="A table to measure the model on; may be repeated.")
@click.option("--holdout", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="SHARE",
              help="Measure on this share of the rows, drawn at random, and train on the rest.")  # fmt: skip
@click.option("--l1", type=click.FloatRange(0), default=0.0, show_default=True,
              help="Penalty l1 |coef|, besides l2: it leaves columns out.")  # fmt: skip
@click.option("--l2", type=Strength(0), default=1.0, show_default=True, metavar="NUMBER",
              help="Penalty: F = sum of losses + l2/2 |coef|^2; 0 for none, auto to have it chosen.")  # fmt: skip
@click.option("--tol", type=click.FloatRange(0, min_open=True), default=1e-6, show_default=True,
              help="Stop once F is proven to be within this share of its minimum.")  # fmt: skip
@click.option("--max-iter", type=click.FloatRange(0, min_open=True), default=200, show_default=True,
              help="Stop after so many passes over the rows.")  # fmt: skip
@click.option("--time-budget", metavar="SECONDS", help="Stop after so long: 60, 60s, 5m or 1h.")
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
              help="Learn what columns hold from the first N rows alone.")  # fmt: skip
@click.option("--cache", metavar="DIR", help="Keep the encoded rows in this folder, for the next time.")
@click.option("--no-cache", is_flag=True, help="Keep no encoded rows: read and encode DATA for every pass.")
@click.option("--checkpoint", metavar="DIR", help="Keep in this folder what is needed to go on after a kill.")
@click.option("--update", metavar="MODEL", help="Go on from this model with the rows of DATA, each read once.")
@click.option("--resume", is_flag=True, help="Go on from what --checkpoint has kept, if there is any.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True,
              help="Of the holdout and the solver's samples.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1, MOST_THREADS), help="Threads to compute with [default: all].")
@click.option("--device", metavar="DEVICE", default="auto", show_default=True, help="To compute on: cpu, cuda, cuda:1.")
@click.option("--require-certificate", is_flag=True, help="Exit with 3 where the answer is not certified.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def command(
    data: tuple[str, ...],
    target: str | None,
    output: str | None,
    valid: tuple[str, ...],
    holdout: float | None,
    l1: float,
    l2: float | Literal["auto"],
    tol: float,
    max_iter: float,
    time_budget: str | None,
    solver: str,
    weight: str | None,
    class_weight: str | None,
    positive: str | None,
    drop: str | None,
    numeric: str | None,
    categorical: str | None,
    text: str | None,
    cross: tuple[str, ...],
    hash_bits: int | None,
    no_header: bool,
    names: str | None,
    sample_rows: int | None,
    cache: str | None,
    no_cache: bool,
    checkpoint: str | None,
    update: str | None,
    resume: bool,
    seed: int,
    threads: int | None,
    device: str,
    require_certificate: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train a model on DATA, and write it to one file.

    DATA: .csv .tsv .jsonl .svm (each also .gz .zst) .parquet .arrow .feather, globs and folders of them, - for standard
    input, or a query, sql:SELECT ... They may be larger than memory.

    Columns are understood by their values: numbers are standardised, text becomes one-hot categories, missing values
    (empty, NA, NaN, null, ?) are handled. Nothing is to be tuned; the report says how far the answer is from the
    best one, proven.

    Example: torchlogit train people.csv --target income --holdout 0.2
    """
    if valid and holdout is not None:
        raise click.UsageError("--valid and --holdout both say what to measure on; give one of them.")
    seconds = _seconds(time_budget)
    path = Path(output or update or _stem(data[0]) + ".safetensors")
    _check_writable(path)
    refuse_overwriting(path, (*data, *valid))
    table = source(data, no_header, names)
    roles = {"numeric": split(numeric), "categorical": split(categorical), "drop": split(drop), "text": split(text)}
    keeping = Keeping.asked(path, solver, cache=cache, checkpoint=checkpoint, resume=resume, anew=no_cache)

    from torchlogit.data.encoding.encoder import EncoderOptions
    from torchlogit.data.plan import Plan
    from torchlogit.estimator import LogisticRegression
    from torchlogit.model import LogisticModel

    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    classifier = LogisticRegression(
        l1=l1,
        l2=l2,
        solver=solver,  # type: ignore[arg-type]
        tol=tol,
        max_iter=max_iter,
        time_budget=seconds,
        class_weight=class_weight,  # type: ignore[arg-type]
        device=device,
        random_state=seed,
        verbose=int(sys.stderr.isatty() and not quiet),
    )
    notices = [] if no_header or names else _notice_of_header(table.column_names)
    if update is not None:
        _refuse_for_update(click.get_current_context(), roles)
        model = LogisticModel.load(update)
        plan = Plan(_target(table, target or model.facts.target), weight=weight)
        run = updated(model, table, plan, classifier, path, notices)
    else:
        target = _target(table, target)
        _refuse_target_among(target, roles)
        options = EncoderOptions(
            numeric=roles["numeric"],
            categorical=roles["categorical"],
            drop=roles["drop"],
            text=roles["text"],
            crosses=cross,
            hash_bits=hash_bits,
        )
        plan = Plan(target, positive, weight, holdout, seed, sample_rows)
        if solver == "streaming":
            keeping.refuse_for_streams(plan, valid)
            run = streamed(table, options, plan, classifier, path, notices)
        else:
            others = source(valid, no_header, names) if valid else None
            run = trained(table, others, options, plan, classifier, keeping, path, notices)
    if as_json:
        click.echo(json.dumps(_as_json(run), ensure_ascii=False))
    elif not quiet:
        from torchlogit.cli.printed import summary

        click.echo(summary(run))
    if require_certificate and run.classifier.certificate_.status != "certified":
        sys.exit(3)


def _as_json(run: Run) -> dict[str, Any]:
    """What --json prints: objective and bound per unit of weight."""
    certificate, weight = run.classifier.certificate_, run.model.facts.training_data["weight"]
    return {
        "status": str(certificate.status),
        "objective": certificate.objective / weight,
        "bound": None if certificate.bound is None else certificate.bound / weight,
        "relative_bound": certificate.relative_bound,
        "l2": run.model.facts.penalty["l2"],
        "passes": run.classifier.n_iter_,
        "seconds": run.classifier.history_[-1].seconds if run.classifier.history_ else 0.0,
        "rows": run.model.facts.training_data["rows"],
        "features": len(run.model.feature_names),
        "classes": list(run.model.classes),
        "metrics": {name: metrics.as_json() for name, metrics in run.metrics.items()},
        "model": run.path,
        "warnings": list(run.warnings),
    }


def _notice_of_header(names: Sequence[str]) -> list[str]:
    """Names that are numbers may be the first row of a file without a header."""
    import pyarrow as pa

    from torchlogit.data.columns import written_as_numbers
    from torchlogit.data.wording import examples

    numbers = pa.array(names).filter(written_as_numbers(pa.array(names))).to_pylist()
    if not numbers:
        return []
    return [f"columns are called {examples(numbers)}; if this is the first row and no header, give --no-header"]


def _target(table: Source, given: str | None) -> str:
    """The column to predict: the one given, or the one that the files' format has."""
    own = table.target
    if own is not None and given not in (None, own):
        raise click.UsageError(f"--target {given}: the target of svmlight files is their label; leave --target out.")
    target = own or given
    if target is None:
        raise click.UsageError("Missing option '--target': the column to predict.")
    return target


OF_MODELS = ("solver", "l1", "l2", "positive", "class_weight", "cross", "hash_bits", "sample_rows", "holdout", "valid",
             "cache", "no_cache", "checkpoint", "resume", "tol", "max_iter", "time_budget")  # fmt: skip


def _refuse_for_update(context: click.Context, roles: Mapping[str, Sequence[str]]) -> None:
    """What a model goes on with was settled when it was trained."""
    given = [name for name in OF_MODELS if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    given += [name for name, columns in roles.items() if columns]
    if given:
        option = "--" + given[0].replace("_", "-")
        raise click.UsageError(f"--update goes on with what the model was trained with; leave {option} out.")


def _refuse_target_among(target: str, options: Mapping[str, Sequence[str]]) -> None:
    """The target is no feature: an option about features that names it has been misunderstood."""
    for option, names in options.items():
        if target in names:
            raise click.UsageError(
                f"{target!r} is the target, and --{option} is about features; take it out of --{option}."
            )


def _seconds(text: str | None) -> float | None:
    """The seconds in 60, 60s, 5m or 1h."""
    if text is None:
        return None
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1.0)
    try:
        seconds = float(number) * unit
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise click.BadParameter(f"{text!r}: expected a time such as 60, 60s, 5m or 1h.", param_hint="--time-budget")
    return seconds


def _stem(name: str) -> str:
    """A file's name without its suffixes; "model" for what has no such name: globs, queries, standard input.

    >>> _stem("data/people.csv.gz"), _stem("data/*.csv"), _stem("sql:SELECT 1"), _stem("-")
    ('people', 'model', 'model', 'model')
    """
    stem = Path(name).name.split(".")[0]
    return stem if stem.strip("-") and not set(stem) & set("*?[:") else "model"


def _check_writable(path: Path) -> None:
    """Refuses, before any work, a place where the model could not be written."""
    import os

    from torchlogit.errors import InputError

    folder = path.parent
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of the model file to write")
    if not folder.is_dir():
        raise InputError(f"{path}: there is no folder {folder}; make it, or write elsewhere with -o")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{path}: the folder {folder} cannot be written to; write elsewhere with -o")
