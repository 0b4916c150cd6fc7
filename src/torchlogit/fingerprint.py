"""Fingerprints of fits, as JSON values: settings, data, and the versions and threads that the last bits depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields, is_dataclass
from functools import cache, partial
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.records import Params

HASHED_ROWS = 1000  # about this many rows of X are hashed; more: fewer changes go unnoticed, and hashing takes longer


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that differs between two fingerprints: its name, such as 'solver.seed', and the value in each."""

    name: str
    old: Any
    new: Any


def first_difference(old: Any, new: Any, name: str = "") -> Difference | None:
    """The first difference between two JSON values, or None; a key that one of them lacks counts as None there.

    >>> first_difference({"solver": {"seed": 0}}, {"solver": {"seed": 1}})
    Difference(name='solver.seed', old=0, new=1)
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in {**new, **old}:
            if found := first_difference(old.get(key), new.get(key), f"{name}.{key}" if name else key):
                return found
        return None
    return None if old == new else Difference(name, old, new)


def settings(objective: Objective, solver: object) -> dict[str, Any]:
    """The shape of X, the loss, the penalty and the solver."""
    n, p = objective.design.shape
    return {
        "rows": n,
        "columns": p - objective.design.has_intercept,
        "intercept": objective.design.has_intercept,
        "loss": described(objective.loss),
        "penalty": described(objective.penalty),
        "solver": described(solver),
    }


def contents(objective: Objective, start: Params | None) -> dict[str, str | None]:
    """SHA-256 of about a thousand rows of X, of the targets, weights and offsets of all rows, and of the start."""
    n = objective.design.shape[0]
    indices = torch.arange(0, n, max(1, n // HASHED_ROWS), device=objective.target.device)
    rows = objective.design.take(indices).csr()
    return {
        "X": _digest(*(torch.from_numpy(part) for part in (rows.indptr, rows.indices, rows.data))),
        "target": _digest(objective.target),
        "sample_weight": _digest(objective.weight),
        "offset": None if objective.offset is None else _digest(objective.offset),
        "start": None if start is None else _digest(start.coef, start.intercept),
    }


def circumstances() -> dict[str, Any]:
    """The versions, number of threads and processor instructions that the last bits of sums depend on."""
    return {**_versions(), "threads": torch.get_num_threads(), "instructions": torch.backends.cpu.get_cpu_capability()}


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("torchlogit", "torch", "numpy", "scipy", "numba")}


def described(value: object) -> Any:
    """A value as JSON: dataclasses by their fields, tensors by SHA-256, functions and types by their names.

    >>> described(partial(torch.optim.SGD, momentum=0.9))
    {'name': 'torch.optim.sgd.SGD', 'momentum': 0.9}
    """
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        return _digest(value)
    if isinstance(value, list | tuple):
        return [described(part) for part in value]
    if isinstance(value, Mapping):
        return {str(key): described(part) for key, part in value.items()}
    if isinstance(value, partial):
        arguments = {"arguments": described(value.args)} if value.args else {}
        return {
            "name": described(value.func),
            **arguments,
            **{key: described(part) for key, part in value.keywords.items()},
        }
    if is_dataclass(value) and not isinstance(value, type):
        given = {field.name: getattr(value, field.name) for field in fields(value) if not _omitted(value, field)}
        parts = {name: described(part) for name, part in given.items()}
        return {"name": type(value).__name__, **parts}
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _omitted(value: Any, field: Field[Any]) -> bool:
    """Whether a field with "omit_default" in its metadata has its default: checkpoints from before the field match."""
    return bool(field.metadata.get("omit_default")) and getattr(value, field.name) == field.default


def _digest(*tensors: Tensor) -> str:
    """SHA-256 of the tensors' types, shapes and bytes."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).numpy().data)
    return digest.hexdigest()
