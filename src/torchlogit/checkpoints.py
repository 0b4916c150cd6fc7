"""Checkpoints: a fit that is killed at any moment goes on, to the same bits as if it never had been.

One file in a folder, `fit.safetensors`, holds the newest one. It is replaced whole: a kill or a full disk in the middle
leaves the one before. A solver's snapshot holds what it goes on from; what follows from that and the data (samples,
factors) is made again. When a checkpoint is taken has no influence on the numbers.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from torchlogit.atomic import START_OVER, load_tree, locked, map_tensors, save_tree
from torchlogit.errors import CheckpointError, InputError, TorchlogitWarning
from torchlogit.fingerprint import circumstances, contents, first_difference, settings
from torchlogit.objective import Objective
from torchlogit.records import Certificate, FitResult, Params, Separation, State, Status, Step, StopReason
from torchlogit.solvers import Resumable, Solver

FILE, LOCK = "fit.safetensors", "fit.lock"
KIND, FORMAT = "checkpoint", 2
OTHER = "give what it was begun with, or another folder"


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Where a fit is kept, and how often: after the step that ends so many seconds or passes since the last time.

    folder: of this fit alone; made where it is missing. resume: go on from what is there, or begin where nothing is;
    without it a folder that holds a fit is refused. data: a text that changes when the data do (a fingerprint of files,
    say), for what a thousand rows of X do not show.

    >>> Checkpoints("run", resume=True).every_seconds
    60.0
    """

    folder: str | Path
    resume: bool = False
    every_seconds: float = 60.0
    every_passes: float = 10.0
    data: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fit is.

    history: of the steps so far. state: after the last one, and its certificate; read from a file it has its params,
    its numbers and the solver's snapshot, no more. may_be_separated: whether that is still to be found out.
    """

    history: tuple[Step, ...]
    state: State
    certificate: Certificate
    may_be_separated: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder held: the place to go on from, None where a fit is over; the answer of one that has ended."""

    place: Place | None = None
    result: FitResult | None = None


class Keeper(Protocol):
    """Keeps a fit."""

    @property
    def found(self) -> Found:
        """What there was when it began."""
        ...

    def note(self, place: Place) -> None:
        """Takes note of where the fit is, in memory."""
        ...

    def save_when_due(self) -> None:
        """Writes the last note down, if it is time."""
        ...

    def ended(self, result: FitResult, goes_on: bool) -> None:
        """Writes the answer down, and the last note with it where another fit may go on from there."""
        ...


@contextmanager
def keeper(
    checkpoints: Checkpoints | None, objective: Objective, solver: Solver, goal: Mapping[str, Any], start: Params | None
) -> Iterator[Keeper]:
    """The keeper of this fit, its folder locked; without `checkpoints` one that keeps nothing.

    goal: what of it has an influence on the numbers. Raises InputError where the solver cannot go on, or the folder is
    in use or cannot be written to; CheckpointError where it holds another fit, or one that is damaged.
    """
    if checkpoints is None:
        yield _Nothing()
        return
    if not isinstance(solver, Resumable):
        raise InputError(f"{type(solver).__name__} cannot go on from a checkpoint (no `resumed`): fit without any")
    folder = Path(checkpoints.folder)
    with locked(folder / LOCK):
        for left in folder.glob(f".{FILE}.*"):  # by a process that was killed while it wrote
            left.unlink()
        facts = {
            "settings": {**settings(objective, solver), **goal},
            "contents": {**contents(objective, start), "data": checkpoints.data},
        }
        yield _Folder(checkpoints, json.loads(json.dumps(facts)), objective.target.device)


class _Nothing:
    """Keeps nothing."""

    found = Found()

    def note(self, place: Place) -> None:
        """Nothing."""

    def save_when_due(self) -> None:
        """Nothing."""

    def ended(self, result: FitResult, goes_on: bool) -> None:
        """Nothing."""


class _Folder:
    """Keeps a fit in a folder. The last note is a copy: Ctrl-C comes in the middle of a step, and finds it whole."""

    def __init__(self, checkpoints: Checkpoints, facts: dict[str, Any], device: torch.device) -> None:
        self.path, self.resume = Path(checkpoints.folder) / FILE, checkpoints.resume
        self.every = checkpoints.every_seconds, checkpoints.every_passes
        self.facts = facts
        self.found = self._load(device) if self.path.exists() else Found()
        self._note: dict[str, Any] | None = None
        self._last = self._now(0.0 if self.found.place is None else self.found.place.state.passes)

    def note(self, place: Place) -> None:
        """A copy."""
        self._note = map_tensors(_place_as_tree(place), torch.Tensor.clone)

    def save_when_due(self) -> None:
        """By the clock, or by the passes since the last time."""
        assert self._note is not None
        now = self._now(self._note["passes"])
        if any(at - last >= every for at, last, every in zip(now, self._last, self.every, strict=True)):
            self._save(self._note, None)
            self._last = self._now(self._note["passes"])

    def ended(self, result: FitResult, goes_on: bool) -> None:
        """Where there is nothing to go on from, what was written before stays."""
        if not goes_on or self._note is not None:
            self._save(self._note if goes_on else None, result)

    def _now(self, passes: float) -> tuple[float, float]:
        return time.monotonic(), passes

    def _save(self, place: dict[str, Any] | None, result: FitResult | None) -> None:
        """A full disk stops no fit: what was written before is still there, and the next time there may be room."""
        answer = None if result is None else _result_as_tree(result)
        tree = {"facts": self.facts, "circumstances": circumstances(), "place": place, "result": answer}
        try:
            save_tree(self.path, tree, KIND, FORMAT)
        except InputError as error:
            warnings.warn(f"no checkpoint was written: {error}", TorchlogitWarning, stacklevel=5)

    def _load(self, device: torch.device) -> Found:
        folder = self.path.parent
        if not self.resume:
            way = "go on from it (resume=True, --resume), or choose another folder"
            raise CheckpointError(f"{folder}: holds a fit already; {way}")
        tree = map_tensors(load_tree(self.path, KIND, FORMAT), lambda tensor: tensor.to(device))
        try:
            self._refuse_others(tree)
            place, result = tree["place"], tree["result"]
            return Found(None if place is None else _place_of(place), None if result is None else _result_of(result))
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{self.path}: a part is not what it should be ({error}); {START_OVER}") from None

    def _refuse_others(self, tree: dict[str, Any]) -> None:
        """Another fit is refused; other circumstances are no obstacle, though the last bits may then differ."""
        folder, facts = self.path.parent, tree["facts"]
        if found := first_difference(tree["circumstances"], circumstances()):
            words = f"{folder}: begun with {found.name} {found.old}, now {found.new}"
            if found.name == "torchlogit":
                raise CheckpointError(f"{words}; go on with that version, or {START_OVER}")
            warnings.warn(f"{words}: the last digits may come out otherwise", TorchlogitWarning, stacklevel=6)
        if found := first_difference(facts["settings"], self.facts["settings"]):
            raise CheckpointError(f"{folder}: the fit there has {found.name} {found.old}, not {found.new}; {OTHER}")
        if found := first_difference(facts["contents"], self.facts["contents"]):
            raise CheckpointError(f"{folder}: the fit there is of other data ({found.name} differs); {OTHER}")


def _place_as_tree(place: Place) -> dict[str, Any]:
    state = place.state
    assert state.snapshot is not None, "a solver that goes on gives every state a snapshot"
    return {
        "history": _history_as_tree(place.history),
        "params": _params_as_tree(state.params),
        "passes": state.passes,
        "objective": state.objective,
        "expected_gap": state.expected_gap,
        "certificate": _certificate_as_tree(place.certificate),
        "may_be_separated": place.may_be_separated,
        "snapshot": state.snapshot(),
    }


def _place_of(tree: dict[str, Any]) -> Place:
    params, snapshot = Params(**tree["params"]), tree["snapshot"]
    state = State(params, tree["passes"], tree["objective"], tree["expected_gap"], snapshot=lambda: snapshot)
    return Place(_history_of(tree["history"]), state, _certificate_of(tree["certificate"]), tree["may_be_separated"])


def _result_as_tree(result: FitResult) -> dict[str, Any]:
    return {
        "params": _params_as_tree(result.params),
        "certificate": _certificate_as_tree(result.certificate),
        "history": _history_as_tree(result.history),
    }


def _result_of(tree: dict[str, Any]) -> FitResult:
    return FitResult(Params(**tree["params"]), _certificate_of(tree["certificate"]), _history_of(tree["history"]))


def _params_as_tree(params: Params) -> dict[str, Any]:
    return {"coef": params.coef, "intercept": params.intercept}


def _certificate_as_tree(certificate: Certificate) -> dict[str, Any]:
    separation, reason = certificate.separation, certificate.reason
    return {
        "status": str(certificate.status),
        "objective": certificate.objective,
        "bound": certificate.bound,
        "separation": separation and {"complete": separation.complete, "directions": separation.directions},
        "reason": reason and {"cause": reason.cause, "answer": reason.answer, "known": reason.known},
    }


def _certificate_of(tree: dict[str, Any]) -> Certificate:
    found = tree["separation"]
    separation = found and Separation(found["complete"], tuple((j, k, sign) for j, k, sign in found["directions"]))
    reason = tree["reason"] and StopReason(**tree["reason"])
    return Certificate(Status(tree["status"]), tree["objective"], tree["bound"], separation, reason)


def _history_as_tree(history: tuple[Step, ...]) -> list[list[float | None]]:
    return [[step.passes, step.seconds, step.objective, step.bound] for step in history]


def _history_of(tree: list[list[Any]]) -> tuple[Step, ...]:
    return tuple(Step(*step) for step in tree)
