"""The report of a training run, as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchlogit.data.encoding.categorical import CategoricalColumn
from torchlogit.data.encoding.column_kind import Column, ColumnKind
from torchlogit.data.encoding.hashing import HashedColumn
from torchlogit.data.encoding.numeric import NumericColumn
from torchlogit.data.encoding.schema import Schema
from torchlogit.data.encoding.text import HashedTextColumn, TextColumn
from torchlogit.data.encoding.vectors import VectorColumn
from torchlogit.model import LogisticModel
from torchlogit.records import Status
from torchlogit.summary import UNDETERMINED, collinear

if TYPE_CHECKING:
    from torchlogit.metrics import Metrics
    from torchlogit.training.fitted import Fitted

WIDTH = 100  # the most characters of a line with names
NAME = 12  # the width in characters of a line's heading
SHOWN = 8  # the most names that a line lists before "and N more"


@dataclass(frozen=True, slots=True)
class TrainReport:
    """The contents of a training report.

    files: the names of the data files. counts: the number of rows of each class. metrics: those of the rows "train"
    and, if there are any, "valid". path: the path of the model file.
    """

    files: str
    model: LogisticModel
    fitted: Fitted
    counts: list[int]
    metrics: dict[str, Metrics]
    path: str
    warnings: tuple[str, ...]


def printed(report: TrainReport) -> str:
    """The report: the data, the answer and its certificate, the metrics, the warnings, and the model file."""
    answer = _stream(report) if report.fitted.progressive is not None else _answer(report)
    measured = metrics_table(report.metrics) if report.metrics else ""
    notes = "\n".join(f"note         {warning}" for warning in report.warnings)
    parts = [_data(report), answer, measured, notes, f"model        {report.path}"]
    return "\n\n".join(part for part in parts if part)


def _data(report: TrainReport) -> str:
    model, encoder = report.model, report.model.encoder
    assert encoder is not None
    schema = encoder.schema
    rows = sum(report.counts)
    n_columns = len(encoder.columns)
    lines = [f"data         {report.files}: {rows:,} rows, {n_columns} column{'s' * (n_columns != 1)}"]
    for kind in ColumnKind:
        columns = [column for column in schema.columns if column.kind is kind]
        if columns:
            lines.append(f"{kind.value:<{NAME}} {_some([_described(column) for column in columns])}")
    lines += _hashing(schema)
    if schema.dropped:
        lines.append(f"left out     {_some([f'{column.name} ({column.reason})' for column in schema.dropped])}")
    used = f", {int((model.coef != 0).any(axis=1).sum())} of them used" if model.facts.penalty["l1"] else ""
    lines.append(f"features     {len(model.feature_names)}{used}")
    counts = zip(model.classes, report.counts, strict=True)
    shares = [f"{label} {count:,} ({count / rows:.1%})" for label, count in counts]
    lines.append(f"target       {model.facts.target}: {_some(shares)}")
    return "\n".join(lines)


def _described(column: Column) -> str:
    match column:
        case CategoricalColumn(levels=()):
            return f"{column.name} (one value{_gaps(column)})"
        case CategoricalColumn():
            return f"{column.name} ({len(column.levels)} levels{_gaps(column)})"
        case HashedColumn():
            return f"{column.name} ({column.n_levels:,} levels)"
        case TextColumn():
            return f"{column.name} ({len(column.words):,} words, {column.filled:.0f} in a text)"
        case HashedTextColumn():
            return f"{column.name} (2^{len(column.counts).bit_length() - 1} places, {column.filled:.0f} in a text)"
        case VectorColumn():
            return f"{column.name} ({column.size:,} features, {column.filled:.1f} in a row)"
        case NumericColumn(has_missing=True):
            return f"{column.name} (some missing)"
    return column.name


def _gaps(column: CategoricalColumn) -> str:
    return ", some missing" if column.has_missing else ""


def _hashing(schema: Schema) -> list[str]:
    """The line about hashed levels that share their feature with another level; no line without hashing."""
    if not schema.hashed:
        return []
    share = schema.share_that_collides
    return [f"hash         2^{schema.hash_bits} features; about {share:.1%} of the levels share theirs with another"]


def _some(names: list[str]) -> str:
    """The first SHOWN names, with lines wrapped at WIDTH and indented to the right of the heading."""
    shown = names[:SHOWN] + ([f"and {len(names) - SHOWN} more"] if len(names) > SHOWN else [])
    lines = [""]
    for name in shown:
        separator = ", " if lines[-1] else ""
        if lines[-1] and len(lines[-1]) + len(separator) + len(name) > WIDTH - NAME - 1:
            lines[-1] += ","
            lines.append("")
            separator = ""
        lines[-1] += separator + name
    return f"\n{'':<{NAME}} ".join(lines)


def _answer(report: TrainReport) -> str:
    from torchlogit.inference import CLASS_WEIGHTED

    certificate, penalty = report.fitted.certificate, report.model.facts.penalty
    first = f" + {penalty['l1']:g} |coef|" if penalty["l1"] else ""
    second = f" + {penalty['l2']:g} / 2 |coef|^2" if penalty["l2"] else ""
    formula = f"sum of log losses{first}{second}" if first or second else "sum of log losses, no penalty"
    lines = _l2_choice(report.fitted)
    lines.append(f"objective    {certificate.objective:.10g} nats  ({formula})")
    lines.append(f"{certificate.status:<{NAME}} {certificate.message}")
    if certificate.status is Status.CERTIFIED and report.fitted.covariance != CLASS_WEIGHTED:
        lines[-1] += ";"
        lines.append(
            f"{'':<{NAME}} no coefficient is further than {certificate.standard_errors:.2g} of its standard error "
            f"from its optimum"
        )
    if relations := collinear(report.model):
        lines += [f"collinear    {relations}", f"{'':<{NAME}} {UNDETERMINED}"]
    fitted = report.fitted
    effort = f"{fitted.passes:.1f} passes over the rows, {fitted.seconds:.2f} s ({fitted.solver_name})"
    lines.append(f"effort       {effort}")
    return "\n".join(lines)


def _l2_choice(fitted: Fitted) -> list[str]:
    """The line on how l2 was chosen, with the log loss to expect on new rows; no line if l2 was given."""
    if fitted.path is None or fitted.chosen_by is None:
        return []
    from torchlogit.path import MEASURE_NAMES

    l2, measure = fitted.penalty.l2, MEASURE_NAMES[fitted.chosen_by]
    point = next(point for point in fitted.path if point.l2 == l2)
    return [
        f"l2           {l2:g}, chosen by {measure} among {len(fitted.path)}: "
        f"log loss {point.loss:.4f} +- {point.standard_error:.4f} on rows not seen"
    ]


def _stream(report: TrainReport) -> str:
    """The lines on training in one pass: losses of predictions made for each row before learning from it."""
    losses, excess = report.fitted.progressive, report.fitted.expected_excess
    assert losses is not None
    error = "" if losses.log_loss_error is None else f" +- {losses.log_loss_error:.4f}"
    auc = "" if losses.auc is None else f", AUC {losses.auc:.4f}"
    lines = [
        f"in one pass  {losses.rows:,} rows, each predicted before it was learned from ({report.fitted.solver_name})",
        f"log loss     {losses.log_loss:.4f}{error} over all of them, {losses.recent_log_loss:.4f} over recent ones; "
        f"accuracy {losses.accuracy:.4f}{auc}",
    ]
    if losses.gain is not None:
        lines.append(f"class share  {losses.against_share}")
    if excess is not None:
        lines += [
            f"expected     about {excess:.1e} nats per unit of weight above the best linear model, if the rows came in",
            f"{'':<{NAME}} random order, which was not checked: statistical, not proven",
        ]
    return "\n".join(lines)


def metrics_table(metrics: dict[str, Metrics]) -> str:
    """One line of metrics for each set of rows, and one line with the error of each AUC that is not exact."""
    width = max(NAME, *map(len, metrics))
    lines = [f"{'':<{width}} {'rows':>10} {'log loss':>10} {'accuracy':>10} {'AUC':>10} {'Brier':>10} {'ECE':>10}"]
    for name, values in metrics.items():
        auc = "-" if values.auc is None else f"{values.auc:.4f}"
        numbers = f"{values.log_loss:>10.4f} {values.accuracy:>10.4f} {auc:>10} {values.brier:>10.4f}"
        lines.append(f"{name:<{width}} {values.rows:>10,} {numbers} {values.calibration_error:>10.4f}")
    lines += [
        f"{name:<{width}} the AUC is exact to {values.auc_error:.1e}"
        for name, values in metrics.items()
        if values.auc_error
    ]
    return "\n".join(lines)
