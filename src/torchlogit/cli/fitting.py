"""Trains on a table by several passes over its encoded rows: prepare, fit, save, measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from warnings import catch_warnings

from torchlogit.cli.measuring import measure
from torchlogit.cli.printed import TrainReport
from torchlogit.cli.train_options import TrainOptions
from torchlogit.cli.workspace import Workspace
from torchlogit.data.encoded_rows import EncodedRows
from torchlogit.data.plan import Plan
from torchlogit.data.preparation import Prepared, encode
from torchlogit.data.reading.source import Source
from torchlogit.model import LogisticModel
from torchlogit.records import Certificate, Status


def fit_table(
    options: TrainOptions, source: Source, plan: Plan, workspace: Workspace, warnings: Sequence[str]
) -> TrainReport:
    """Trains on the source's rows, writes the model file, and measures the model. warnings: from earlier steps."""
    others = options.validation_source()
    with workspace.prepared(source, options.encoder_options(), plan) as prepared:
        warnings = [*warnings, *source.warnings, *prepared.warnings]
        held_out = prepared.held_out
        if others is not None:
            held_out, more = _encode_validation(prepared, others, plan, workspace)
            warnings += more
        return _fit(options, source, prepared, held_out, plan, workspace, warnings)


def _encode_validation(
    prepared: Prepared, others: Source, plan: Plan, workspace: Workspace
) -> tuple[EncodedRows, list[str]]:
    """The rows of --valid, encoded in the same way as the training rows, and the warnings about them."""
    classes, all_rows = prepared.classes.classes, replace(plan, holdout=None)
    part, _ = encode(others, prepared.encoder, classes, all_rows, workspace.row_arrays())
    return part.rows(), [*others.warnings, *(f"{others.files}: {note}" for note in part.warnings)]


def _fit(
    options: TrainOptions,
    source: Source,
    prepared: Prepared,
    held_out: EncodedRows | None,
    plan: Plan,
    workspace: Workspace,
    warnings: Sequence[str],
) -> TrainReport:
    from torchlogit.training.explanation import explain
    from torchlogit.training.rows import LabelledRows
    from torchlogit.training.to_model import to_model
    from torchlogit.training.train import train

    classes, encoded = prepared.classes.classes, prepared.train
    with catch_warnings(record=True) as caught:
        fitted = train(
            options.settings(),
            LabelledRows.of_table(encoded, classes),
            storage=workspace.storage(encoded),
            checkpoints=workspace.checkpoints(source),
        )
    model = to_model(fitted, prepared.encoder, target=plan.target)
    model.save(options.model_path)
    warnings = [*warnings, *(str(warning.message) for warning in caught)]
    if fitted.certificate.status is not Status.CERTIFIED:
        warnings.append(explain(_in_the_table(fitted.certificate, model), model.feature_names, model.outputs))
    measured = {"train": encoded} | ({} if held_out is None else {"valid": held_out})
    return TrainReport(
        files=source.files,
        model=model,
        fitted=fitted,
        counts=prepared.classes.counts.tolist(),
        metrics={name: measure(model, rows) for name, rows in measured.items()},
        path=str(options.model_path),
        warnings=tuple(warnings),
    )


def _in_the_table(certificate: Certificate, model: LogisticModel) -> Certificate:
    """The certificate without infinite intercepts where these are not those of a row of zeros in the table."""
    separation = certificate.separation
    if separation is None or not model.units_and_zero()[1].any():
        return certificate
    return replace(certificate, separation=replace(separation, intercepts=()))
