"""Checkpoints: a fit that is killed at any moment can be resumed, and gives the same bits as if it had not been.

A folder holds the newest checkpoint in one file, `fit.safetensors`, which is replaced as a whole: a kill or a full disk
in the middle of writing leaves the previous one in place. A checkpoint holds the solver's snapshot. What follows from
that and the data (samples, factors) is not saved, but computed again. Results do not depend on when checkpoints are
written (docs/decisions/0018).
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch

from torchlogit.atomic import START_OVER, load_tree, locked, map_tensors, save_tree
from torchlogit.errors import CheckpointError, InputError, TorchlogitWarning
from torchlogit.fingerprint import circumstances, contents, first_difference, settings
from torchlogit.objective import Objective
from torchlogit.records import (
    Answer,
    Certificate,
    FitResult,
    Params,
    Relation,
    Separation,
    Snapshot,
    State,
    Status,
    Step,
    StopReason,
)
from torchlogit.solvers import Resumable, Solver

FILE, LOCK = "fit.safetensors", "fit.lock"
KIND, FORMAT = "checkpoint", 3  # the kind of file and the version of its format, which are checked on reading
# How messages about checkpoints of other fits end.
OTHER = "use the settings and data that it was started with, or another folder"


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The folder that a fit is kept in, and how often.

    Parameters
    ----------
    folder : str or Path
        A folder for this fit alone; it is made if it is missing.
    resume : bool
        Whether to continue from the checkpoint in the folder, if there is one. Otherwise a folder with a checkpoint is
        refused.
    every_seconds, every_passes : float
        A checkpoint is written after the first step that ends this many seconds, or this many passes, after the last
        one was written.
    data : str, optional
        A text that changes with the data, such as a fingerprint of files: of X only about 1,000 rows are compared.

    Examples
    --------
    >>> Checkpoints("run", resume=True).every_seconds
    60.0
    """

    folder: str | Path
    resume: bool = False
    every_seconds: float = 60.0
    every_passes: float = 10.0
    data: str | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A fit after a step. The names of the fields are keys in files.

    history: all steps so far. params, passes, objective, expected_gap, snapshot: those of the last step's `State`, and
    its certificate. best: the answer of an earlier step whose bound is smaller, None where there is none.
    may_be_separated: whether separation may still be looked for.
    """

    history: tuple[Step, ...]
    params: Params
    passes: float
    objective: float
    expected_gap: float | None
    certificate: Certificate
    best: Answer | None
    may_be_separated: bool
    snapshot: Snapshot

    @classmethod
    def of(
        cls, history: tuple[Step, ...], state: State, certificate: Certificate, best: Answer, may_be_separated: bool
    ) -> Checkpoint:
        """The checkpoint after the last step, which led to this state; its tensors are not copied."""
        assert state.snapshot is not None, "every state of a resumable solver has a snapshot"
        numbers, earlier = (state.passes, state.objective, state.expected_gap), best.certificate is not certificate
        return cls(
            history, state.params, *numbers, certificate, best if earlier else None, may_be_separated, state.snapshot()
        )

    @property
    def answer(self) -> Answer:
        """The answer with the smallest bound so far."""
        return self.best or Answer(self.params, self.certificate, self.passes)

    @property
    def state(self) -> State:
        """The state of the last step, without its raw prediction and its dual point."""
        return State(self.params, self.passes, self.objective, self.expected_gap, snapshot=lambda: self.snapshot)


class CheckpointWriter:
    """Writes checkpoints of a fit to a folder, and holds what the folder contained at the start.

    checkpoint: the one to continue from, None where there is none. result: that of the fit in the folder, if it has
    ended.
    """

    def __init__(self, checkpoints: Checkpoints, facts: dict[str, Any], device: torch.device) -> None:
        self._path, self._resume = Path(checkpoints.folder) / FILE, checkpoints.resume
        self._intervals = checkpoints.every_seconds, checkpoints.every_passes
        self._facts = facts
        self.checkpoint: Checkpoint | None = None
        self.result: FitResult | None = None
        if self._path.exists():
            self._load(device)
        self._newest: dict[str, Any] | None = None
        self._written_at = self._now(0.0 if self.checkpoint is None else self.checkpoint.passes)

    def record(self, checkpoint: Checkpoint) -> None:
        """Keep a copy of a checkpoint: Ctrl-C may interrupt the next step, which changes the tensors in place."""
        self._newest = map_tensors(_as_tree(checkpoint), lambda _, tensor: tensor.clone())

    def save_when_due(self) -> None:
        """Write the checkpoint recorded last, if the interval in seconds or that in passes is over."""
        assert self._newest is not None
        now = self._now(self._newest["passes"])
        if any(at - last >= every for at, last, every in zip(now, self._written_at, self._intervals, strict=True)):
            self._save(self._newest, None)
            self._written_at = self._now(self._newest["passes"])

    def finish(self, result: FitResult, can_continue: bool) -> None:
        """Write the result, with the last checkpoint where a fit with a larger budget can continue from it.

        Where a fit can continue but no step was taken, the file stays as it is.
        """
        if not can_continue or self._newest is not None:
            self._save(self._newest if can_continue else None, result)

    def _now(self, passes: float) -> tuple[float, float]:
        return time.monotonic(), passes

    def _save(self, checkpoint: dict[str, Any] | None, result: FitResult | None) -> None:
        """Write the file. A full disk is a warning and does not end the fit; the file from before stays."""
        content = {
            "facts": self._facts,
            "circumstances": circumstances(),
            "place": checkpoint,
            "result": _as_tree(result),
        }
        try:
            save_tree(self._path, content, KIND, FORMAT)
        except InputError as error:
            warnings.warn(f"no checkpoint was written: {error}", TorchlogitWarning, stacklevel=5)

    def _load(self, device: torch.device) -> None:
        """Read the file; CheckpointError unless `resume` is set, and the file is of this fit."""
        folder = self._path.parent
        if not self._resume:
            remedy = "continue it (resume=True, --resume), or choose another folder"
            raise CheckpointError(f"{folder}: contains a fit already; {remedy}")
        content = map_tensors(load_tree(self._path, KIND, FORMAT), lambda _, tensor: tensor.to(device))
        try:
            self._refuse_others(content)
            checkpoint, result = content["place"], content["result"]
            self.checkpoint = None if checkpoint is None else Checkpoint(**_with_records(checkpoint))
            self.result = None if result is None else FitResult(**_with_records(result))
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{self._path}: a part is missing or wrong ({error}); {START_OVER}") from None

    def _refuse_others(self, content: dict[str, Any]) -> None:
        """CheckpointError for another fit; a warning for other circumstances, in which the last bits may differ."""
        folder, facts = self._path.parent, content["facts"]
        if found := first_difference(content["circumstances"], circumstances()):
            problem = f"{folder}: started with {found.name} {found.old}, now {found.new}"
            if found.name == "torchlogit":
                raise CheckpointError(f"{problem}; continue with that version, or {START_OVER}")
            warnings.warn(f"{problem}: the last digits may differ", TorchlogitWarning, stacklevel=6)
        if found := first_difference(facts["settings"], self._facts["settings"]):
            raise CheckpointError(f"{folder}: the fit there has {found.name} {found.old}, not {found.new}; {OTHER}")
        if found := first_difference(facts["contents"], self._facts["contents"]):
            raise CheckpointError(f"{folder}: the fit there is of other data ({found.name} differs); {OTHER}")


@contextmanager
def checkpoint_writer(
    checkpoints: Checkpoints | None,
    objective: Objective,
    solver: Solver,
    decisive: Mapping[str, Any],
    start: Params | None,
) -> Iterator[CheckpointWriter | None]:
    """The writer of a fit's checkpoints, with its folder locked; None without `checkpoints`.

    decisive: the settings of the goal that results depend on. Raises InputError where the solver cannot be resumed, or
    the folder is in use or cannot be written to; CheckpointError where it holds another fit, or a damaged one.
    """
    if checkpoints is None:
        yield None
        return
    if not isinstance(solver, Resumable):
        name = type(solver).__name__
        raise InputError(f"{name} cannot continue from a checkpoint (it has no `resumed`): fit without one")
    folder = Path(checkpoints.folder)
    with locked(folder / LOCK):
        for temporary in folder.glob(f".{FILE}.*"):  # of a process that was killed while it wrote
            temporary.unlink()
        facts = {
            "settings": {**settings(objective, solver), **decisive},
            "contents": {**contents(objective, start), "data": checkpoints.data},
        }
        yield CheckpointWriter(checkpoints, json.loads(json.dumps(facts)), objective.target.device)


def _as_tree(value: Any) -> Any:
    """Records as mappings from the names of their fields; steps, which are many, as lists of their numbers."""
    if isinstance(value, Step):
        return list(astuple(value))
    if is_dataclass(value):
        return {field.name: _as_tree(getattr(value, field.name)) for field in fields(value)}
    return [_as_tree(part) for part in value] if isinstance(value, tuple) else value


def _with_records(tree: dict[str, Any]) -> dict[str, Any]:
    """The fields of a `Checkpoint` or a `FitResult`, with the records that `_as_tree` took apart."""
    params, history = Params(**tree["params"]), tuple(Step(*step) for step in tree["history"])
    found = {**tree, "params": params, "certificate": _certificate(tree["certificate"]), "history": history}
    if tree.get("best") is not None:
        best = tree["best"]
        found["best"] = Answer(Params(**best["params"]), _certificate(best["certificate"]), best["passes"])
    return found


def _certificate(tree: dict[str, Any]) -> Certificate:
    separation, reason = tree["separation"], tree["reason"]
    if separation is not None:
        directions = tuple((feature, output, sign) for feature, output, sign in separation["directions"])
        intercepts = tuple((output, sign) for output, sign in separation.get("intercepts", ()))
        separation = Separation(separation["complete"], directions, intercepts)
    reason = None if reason is None else StopReason(**reason)
    collinear = tuple(
        Relation(part["column"], tuple((j, factor) for j, factor in part["others"]), part["exact"])
        for part in tree["collinear"]
    )
    return Certificate(Status(tree["status"]), tree["objective"], tree["bound"], separation, reason, collinear)
