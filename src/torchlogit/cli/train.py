"""torchlogit train: a table in, a certified model out."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from torchlogit.cli.penalty import Strength
from torchlogit.cli.rows import measure
from torchlogit.cli.tables import DATA, header_options, located, read, refuse_overwriting, split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from torchlogit.cli.summary import Run
    from torchlogit.data.encoder import TableEncoder
    from torchlogit.data.labels import Label, Labels
    from torchlogit.data.tables import LoadedTable, Origin
    from torchlogit.estimator import LogisticRegression
    from torchlogit.model import LogisticModel
    from torchlogit.records import Certificate

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
@click.option("--solver", type=click.Choice(["auto", "newton", "dual", "sgd"]), default="auto", show_default=True,
              metavar="SOLVER", help="auto, newton, dual or sgd.")  # fmt: skip
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
    seed: int,
    threads: int | None,
    device: str,
    require_certificate: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train a model on DATA (.csv .tsv .jsonl .svm, each also .gz; .parquet), and write it to one file.

    Columns are understood by their values: numbers are standardised, text becomes one-hot categories, missing values
    (empty, NA, NaN, null, ?) are handled. Nothing is to be tuned; the report says how far the answer is from the
    best one, proven.

    Example: torchlogit train people.csv --target income --holdout 0.2
    """
    if valid and holdout is not None:
        raise click.UsageError("--valid and --holdout both say what to measure on; give one of them.")
    seconds = _seconds(time_budget)
    path = Path(output) if output else Path(_stem(data[0]) + ".safetensors")
    _check_writable(path)
    refuse_overwriting(path, (*data, *valid))
    target = _target(data, target)
    roles = {"numeric": split(numeric), "categorical": split(categorical), "drop": split(drop), "text": split(text)}
    _refuse_target_among(target, roles)
    table = read(data, no_header, names)
    valid_table = read(valid, no_header, names) if valid else None

    from torchlogit.data.encoder import TableEncoder

    encoder = TableEncoder(
        numeric=roles["numeric"],
        categorical=roles["categorical"],
        drop=roles["drop"],
        text=roles["text"],
        crosses=cross,
        hash_bits=hash_bits,
    )
    learned = _learn(table, target, positive, weight, encoder, _held_out(table, holdout, seed))
    classes, train, held, notices = learned
    notices[:0] = table.notices
    if not no_header and names is None:
        notices[:0] = _notice_of_header(table.table.column_names)
    if valid_table is not None:
        held, seen = _encode(valid_table, target, classes, weight, encoder)
        notices += [*valid_table.notices, *(f"{valid_table.origin.files}: {notice}" for notice in seen)]

    from torchlogit.estimator import LogisticRegression

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
    run = _run(table.origin, target, classes, encoder, classifier, train, held, path, notices)
    if as_json:
        click.echo(json.dumps(_as_json(run), ensure_ascii=False))
    elif not quiet:
        from torchlogit.cli.summary import summary

        click.echo(summary(run))
    if require_certificate and run.classifier.certificate_.status != "certified":
        sys.exit(3)


def _held_out(table: LoadedTable, holdout: float | None, seed: int) -> NDArray[np.bool_]:
    """Which rows are held out, drawn by the seed; none without a share."""
    import numpy as np

    from torchlogit.errors import DataError

    n = table.table.num_rows
    held: NDArray[np.bool_] = np.random.default_rng(seed).random(n) < (holdout or 0.0)
    if holdout is not None and not 0 < np.count_nonzero(held) < n:
        which = "none" if not held.any() else "all"
        raise DataError(f"--holdout {holdout:g} takes {which} of the {n} rows; choose another share").located(
            table.origin.files
        )
    return held


def _learn(
    table: LoadedTable,
    target: str,
    positive: str | None,
    weight: str | None,
    encoder: TableEncoder,
    held_out: NDArray[np.bool_],
) -> tuple[tuple[Label, ...], Rows, Rows | None, list[str]]:
    """The classes, the rows to train on and those held out; the encoder learns from the former alone."""
    import numpy as np
    import pyarrow as pa

    from torchlogit.data.labels import learn_labels
    from torchlogit.data.weights import weights_of

    with located(table.origin):
        labels = learn_labels(table.table, target, positive)
        by_weight = weights_of(table.table, weight)
        features = table.table.drop_columns(list({target, weight or target}))
    kept, held = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    with located(table.origin):
        _refuse_empty_class(labels, kept, by_weight)
    with located(table.origin, kept):
        train = features.take(pa.array(kept)) if len(held) else features
        encoded = encoder.fit(train).encode(train)
    rows = Rows(encoded.values, labels.codes[kept], None if by_weight is None else by_weight[kept])
    if not len(held):
        return labels.classes, rows, None, list(encoder.notices_)
    with located(table.origin, held):
        aside = encoder.encode(features.take(pa.array(held)))
    others = Rows(aside.values, labels.codes[held], None if by_weight is None else by_weight[held])
    return labels.classes, rows, others, [*encoder.notices_, *(f"held out: {notice}" for notice in aside.notices)]


def _refuse_empty_class(labels: Labels, kept: NDArray[np.int64], weight: NDArray[np.float64] | None) -> None:
    """Every class needs rows to learn from: a share held out, or weights of zero, may have taken them all."""
    import numpy as np

    from torchlogit.errors import DataError

    weights = np.ones(len(kept)) if weight is None else weight[kept]
    totals = np.bincount(labels.codes[kept], weights=weights, minlength=len(labels.classes))
    if not totals.all():
        empty = labels.classes[int(np.argmin(totals))]
        raise DataError(
            f"class {empty!r} has no row of positive weight to train on; "
            f"give it some, hold out fewer rows, or leave the class out"
        )


def _encode(
    table: LoadedTable, target: str, classes: tuple[Label, ...], weight: str | None, encoder: TableEncoder
) -> tuple[Rows, list[str]]:
    """Another table's rows, encoded as the training table's."""
    from torchlogit.data.labels import check_labels
    from torchlogit.data.weights import weights_of

    with located(table.origin):
        codes = check_labels(table.table, target, classes)
        by_weight = weights_of(table.table, weight)
        encoded = encoder.encode(table.table)
        return Rows(encoded.values, codes, by_weight), list(encoded.notices)


def _run(
    origin: Origin,
    target: str,
    classes: tuple[Label, ...],
    encoder: TableEncoder,
    classifier: LogisticRegression,
    train: Rows,
    held: Rows | None,
    path: Path,
    notices: list[str],
) -> Run:
    """Fits, saves and measures."""
    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.pipeline import make_pipeline

    from torchlogit.cli.summary import Run
    from torchlogit.estimator import save, to_model

    with warnings.catch_warnings(), located(origin):
        warnings.simplefilter("ignore", ConvergenceWarning)  # told below, with the features' names
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)  # the labels were looked at
        classifier.fit(train.features, train.codes, sample_weight=train.weight)
    classifier.feature_names_in_ = encoder.get_feature_names_out()
    classifier.classes_ = np.array(classes, dtype=object)
    fitted = make_pipeline(encoder, classifier)
    save(fitted, path, target=target)
    model, certificate = to_model(fitted, target=target), classifier.certificate_
    measured = {"train": train} | ({"valid": held} if held is not None else {})
    return Run(
        files=origin.files,
        model=model,
        classifier=classifier,
        counts=np.bincount(train.codes, minlength=len(classes)).tolist(),
        metrics={name: measure(model, rows) for name, rows in measured.items()},
        path=str(path),
        warnings=(*notices, *_explained(certificate, model)),
    )


def _explained(certificate: Certificate, model: LogisticModel) -> list[str]:
    """What to make of an answer that is not certified."""
    from torchlogit.estimator import explain
    from torchlogit.records import Status

    certified = certificate.status is Status.CERTIFIED
    return [] if certified else [explain(certificate, model.feature_names, model.outputs)]


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


def _target(data: Sequence[str], given: str | None) -> str:
    """The column to predict: the one given, or the one that the files' format has."""
    from torchlogit.data.tables import own_target

    own = own_target(data)
    if own is not None and given not in (None, own):
        raise click.UsageError(f"--target {given}: the target of svmlight files is their label; leave --target out.")
    target = own or given
    if target is None:
        raise click.UsageError("Missing option '--target': the column to predict.")
    return target


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
    """A file's name without its suffixes.

    >>> _stem("data/people.csv.gz")
    'people'
    """
    return Path(name).name.split(".")[0] or "model"


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
