"""LogisticModel: a fitted model with all that prediction needs, saved in one file.

The file is in the safetensors format (docs/model-file.md): tensors, and one JSON object under the metadata key
"torchlogit". It holds no pickle, and nothing that varies from run to run. Loading and predicting do not import torch.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from torchlogit.atomic import write_atomically
from torchlogit.data.encoding.encoder import Encoder
from torchlogit.data.encoding.features import Matrix
from torchlogit.data.encoding.schema import schema_from_json, schema_to_json
from torchlogit.data.labels import Label
from torchlogit.data.reading.tables import table_from
from torchlogit.errors import InputError, ModelFileError, TorchlogitWarning
from torchlogit.prediction import likeliest, probability_of, raw_prediction
from torchlogit.records import StreamState

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float64]

FORMAT_VERSION = 4  # of the files that are written; earlier versions can be read
MAX_HEADER = 100_000_000  # the longest header that safetensors reads, in bytes
HEADER_PER_TEXT = 1.1  # estimated length of the header relative to the JSON text, whose quotes are escaped in it
KEY = "torchlogit"  # the key of the JSON object in the file's metadata
FACTS = ("target", "penalty", "solver", "certificate", "training_data", "standard_errors", "versions")
KEYS = ("checksum", "format_version", "classes", "feature_names", "schema", *FACTS)  # of every version's JSON object
KEYS_SINCE_3 = (*KEYS, "state")
TENSORS = ("coef", "intercept")  # the tensors of every model
CENTER = "center"  # the tensor of a model whose predictions are computed from centred columns; since format 4
STATE = "state."  # prefix of the names of the tensors that hold a stream's state


@dataclass(frozen=True, slots=True)
class Facts:
    """How a model was trained, as JSON values.

    target: the name of the target column, or None. penalty: l1 and l2, and if they were given, factors, lower and upper
    bounds per column. solver: name, passes and tol. certificate: status, objective and bound in nats, relative_bound,
    standard_errors, message, separation. training_data: rows, weight, fingerprint. standard_errors: lists of those of
    coef and intercept, or the reason why there are none; where columns are collinear, also their relations and the
    errors of contrasts. versions: the versions of the libraries that were used.
    """

    target: str | None
    penalty: dict[str, float]
    solver: dict[str, Any]
    certificate: dict[str, Any]
    training_data: dict[str, Any]
    standard_errors: dict[str, Any]
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A feature's coefficient for one output in the table's own units, with its odds ratio and standard error.

    The coefficient of a numeric column is per unit of the column; that of a level or a missing value is for its
    presence. odds_ratio: e^coefficient. With more than two classes it is a ratio for the class's probability relative
    to the geometric mean of all classes', since only differences between classes are determined: e^(coefficient - the
    mean over classes).
    """

    feature: str
    output: Label
    value: float
    odds_ratio: float
    standard_error: float | None


@dataclass(frozen=True, slots=True)
class LogisticModel:
    """A fitted model: it encodes the rows of a table, predicts, and saves itself to one file.

    Two classes have one output, the log-odds of the second class; more classes have one output each (softmax).

    Parameters
    ----------
    coef : ndarray (n_features, n_outputs), float64
        The coefficients of the encoded features.
    intercept : ndarray (n_outputs,), float64
    classes : tuple of str, int, float or bool
        The labels, in the order of the outputs.
    feature_names : tuple of str
        The names of the encoded features.
    encoder : Encoder or None
        Turns a table into features; None if the model takes arrays of features.
    facts : Facts
        How the model was trained.
    center : ndarray (n_features,), optional
        The raw prediction is computed as (X - center) coef + (intercept + center coef), so that columns far from zero
        lose no digits. By default zeros.
    state : StreamState or None
        The state from which a model that was learned in one pass can continue to learn.

    Examples
    --------
    >>> facts = Facts(None, {"l1": 0.0, "l2": 1.0}, {}, {}, {}, {"reason": "not computed"}, {})
    >>> model = LogisticModel(np.array([[2.0]]), np.array([-1.0]), ("no", "yes"), ("x",), None, facts)
    >>> model.predict(np.array([[0.0], [1.0]])).tolist()
    ['no', 'yes']
    """

    coef: Array
    intercept: Array
    classes: tuple[Label, ...]
    feature_names: tuple[str, ...]
    encoder: Encoder | None
    facts: Facts
    center: Array | None = None
    state: StreamState | None = None

    def features(self, X: object) -> NDArray[np.floating[Any]] | Matrix:
        """The features, (n, n_features), encoded from a table; without an encoder, X must be an array of features."""
        if self.encoder is not None:
            encoded = self.encoder.encode(table_from(X))
            if encoded.messages:
                warnings.warn("; ".join(encoded.messages), TorchlogitWarning, stacklevel=2)
            return encoded.values
        values = np.asarray(X)
        if values.ndim != 2 or values.shape[1] != len(self.feature_names):
            raise InputError(f"X has shape {values.shape}: expected rows of {len(self.feature_names)} features")
        return values

    def raw_prediction(self, X: object) -> Array:
        """X coef + intercept, (n, n_outputs)."""
        return self.raw_of(self.features(X))

    def raw_of(self, features: NDArray[np.floating[Any]] | Matrix) -> Array:
        """The raw prediction, (n, n_outputs), for features that are already encoded."""
        return raw_prediction(features, self.coef, self.intercept, self.center)

    def predict_proba(self, X: object) -> Array:
        """The probability of every class, (n, n_classes)."""
        return probability_of(self.features(X), self.coef, self.intercept, self.center)

    def predict(self, X: object) -> NDArray[np.object_]:
        """The most likely class of each row, (n,)."""
        labels: NDArray[np.object_] = np.array(self.classes, dtype=object)
        return labels.take(likeliest(self.raw_prediction(X)))

    def to_torch(self, dtype: torch.dtype | None = None) -> torch.nn.Linear:
        """The model as a torch.nn.Linear on the CPU, from encoded features to raw predictions.

        For two classes, the sigmoid of its output is the probability of the second class; for more classes, the softmax
        of its outputs gives the probabilities of all classes.

        Parameters
        ----------
        dtype : torch.dtype, optional
            By default torch's default dtype. With float64 the layer predicts the same as the model; with float32 the
            coefficients are rounded.
        """
        return as_linear(self.coef, self.intercept, dtype)

    @property
    def outputs(self) -> tuple[Label, ...]:
        """The class of each output: for two classes the second one, for more classes all of them."""
        return self.classes[1:] if self.coef.shape[1] == 1 else self.classes

    def in_original_units(self) -> tuple[list[Coefficient], list[Coefficient]]:
        """The intercepts and the coefficients in the table's own units, with odds ratios and standard errors."""
        units, zero = self.units_and_zero()
        coef, intercept = self.coef * units[:, None], self.intercept + zero @ self.coef
        errors = self.facts.standard_errors
        coef_errors = _errors(errors.get("coef"), coef.shape) * units[:, None]
        intercept_errors = _errors(errors.get("intercept"), intercept.shape)
        coefficients = [
            line
            for name, *values in zip(self.feature_names, coef, coef_errors, strict=True)
            for line in self._coefficients(name, *values)
        ]
        return self._coefficients("(intercept)", intercept, intercept_errors), coefficients

    def contrasts(self) -> list[Coefficient]:
        """Differences that the data determine between coefficients that they do not determine: those of levels.

        Each level of a one-hot column is compared with the first one, where the columns of all levels are collinear
        with the intercept. Empty if there are no standard errors.
        """
        units, _ = self.units_and_zero()
        return [
            line
            for j, first, errors in self.facts.standard_errors.get("contrasts", ())
            for line in self._coefficients(
                f"{self.feature_names[j]} - {self.feature_names[first]}",
                units[j] * (self.coef[j] - self.coef[first]),
                units[j] * _errors(errors, self.intercept.shape),
            )
        ]

    def units_and_zero(self) -> tuple[Array, Array]:
        """The change of each feature per unit of its column, and the features of a row of zeros, (n_features,) each."""
        if self.encoder is None:
            return np.ones(len(self.coef)), np.zeros(len(self.coef))
        return np.array(self.encoder.schema.units), features_of_zeros(self.encoder)

    def _coefficients(self, feature: str, values: Array, errors: Array) -> list[Coefficient]:
        """The lines of one feature, one for each output."""
        with np.errstate(over="ignore"):
            ratios = np.exp(values - (values.mean() if len(values) > 1 else 0.0))
        return [
            Coefficient(feature, output, float(value), float(ratio), None if np.isnan(error) else float(error))
            for output, value, ratio, error in zip(self.outputs, values, ratios, errors, strict=True)
        ]

    def save(self, path: str | Path) -> None:
        """Write the model file, either completely or not at all. The same model gives the same bytes.

        Raises
        ------
        InputError
            If coefficients are not finite, if the columns' names, levels and words take more than 100 MB, or if the
            file cannot be written.
        """
        from safetensors.numpy import save

        metadata = {
            "format_version": FORMAT_VERSION,
            "classes": list(self.classes),
            "feature_names": list(self.feature_names) if self.encoder is None else None,
            "schema": None if self.encoder is None else schema_to_json(self.encoder.schema),
            **{name: getattr(self.facts, name) for name in FACTS},
            "state": None if self.state is None else self.state.facts,
        }
        tensors = {name: np.ascontiguousarray(getattr(self, name)) for name in TENSORS}
        if self.center is not None:
            tensors[CENTER] = np.ascontiguousarray(self.center)
        if self.state is not None:
            tensors |= {STATE + name: np.ascontiguousarray(array) for name, array in self.state.arrays.items()}
        try:
            text = _as_text({"checksum": _checksum(tensors, metadata), **metadata})
        except ValueError:
            status = self.facts.certificate.get("status")
            raise InputError(f"the fit ({status}) holds numbers that are not finite: nothing to save") from None
        if len(text) * HEADER_PER_TEXT > MAX_HEADER:
            raise InputError(
                f"{path}: the columns' names, levels and words take {len(text) / 1e6:.0f} MB, and a model file holds "
                f"{MAX_HEADER / 1e6:.0f}; hash them (hash_bits or --hash-bits), or leave columns out"
            )
        write_atomically(Path(path), save(tensors, metadata={KEY: text}))

    @classmethod
    def load(cls, path: str | Path) -> LogisticModel:
        """Read a model file.

        Raises
        ------
        ModelFileError
            If there is no such file, or it is not a torchlogit model, damaged, or of a later format.
        """
        tensors, metadata = _read(Path(path))
        try:
            return cls._from_parts(path, tensors, metadata)
        except (TypeError, KeyError, AttributeError) as error:
            raise ModelFileError(f"{path}: a part of the model has the wrong form ({error}); damaged") from None

    @classmethod
    def _from_parts(cls, path: str | Path, tensors: dict[str, Array], metadata: dict[str, Any]) -> LogisticModel:
        """The model of a file's tensors and metadata."""
        schema = metadata["schema"]
        coef, intercept = (tensors[name] for name in TENSORS)
        encoder = None if schema is None else Encoder(schema_from_json(schema))
        saved = metadata["feature_names"]  # None if there is a schema, except in format 1
        names = tuple(encoder.schema.feature_names if saved is None and encoder is not None else saved)
        classes = tuple(metadata["classes"])
        outputs = 1 if len(classes) == 2 else len(classes)
        center = tensors.get(CENTER, coef[:, 0])
        if coef.shape != (len(names), outputs) or intercept.shape != (outputs,) or center.shape != (len(names),):
            raise ModelFileError(f"{path}: the tensors do not fit the names and classes; the file is damaged")
        if not all(np.isfinite(tensors[name]).all() for name in tensors if not name.startswith(STATE)):
            raise ModelFileError(f"{path}: a coefficient is not finite; the file is damaged")
        facts = Facts(**{name: metadata[name] for name in FACTS})
        arrays = {name.removeprefix(STATE): tensors[name] for name in tensors if name.startswith(STATE)}
        state_facts = metadata.get("state")
        state = None if state_facts is None else StreamState(state_facts, arrays)
        return cls(coef, intercept, classes, names, encoder, facts, tensors.get(CENTER), state)


def as_linear(coef: Array, intercept: Array, dtype: torch.dtype | None) -> torch.nn.Linear:
    """The torch.nn.Linear of coef (n_features, n_outputs) and intercept (n_outputs,); no random numbers are drawn."""
    import torch

    dtype = torch.get_default_dtype() if dtype is None else dtype
    linear = torch.nn.Linear(coef.shape[0], coef.shape[1], device="meta", dtype=dtype)
    linear.weight, linear.bias = (torch.nn.Parameter(torch.tensor(part, dtype=dtype)) for part in (coef.T, intercept))
    return linear


def features_of_zeros(encoder: Encoder) -> Array:
    """The encoded features (n_features,) of a row of zeros; their raw prediction is the intercept in original units."""
    return np.array(encoder.schema.zero)


def _read(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """The tensors and the metadata of a model file, checked."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise ModelFileError(f"{path}: no such file; expected a model written by `torchlogit train`")
    if path.is_dir():
        raise ModelFileError(f"{path}: a folder; expected a model file written by `torchlogit train`")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(KEY)
            if text is None:
                raise ModelFileError(f"{path}: a safetensors file, but not a torchlogit model; give one that is")
            metadata = json.loads(text)
            names = list(file.keys())
            _check_metadata(path, metadata, names)
            tensors = {name: file.get_tensor(name) for name in names}
            if metadata.pop("checksum") != _checksum(tensors, metadata):
                raise ModelFileError(f"{path}: the checksum does not fit the contents; the file is damaged")
            return tensors, metadata
    except ModelFileError:
        raise
    except (SafetensorError, OSError, ValueError):
        raise ModelFileError(
            f"{path}: not a torchlogit model, or a damaged one; expected a file written by `torchlogit train`"
        ) from None


def _as_text(metadata: dict[str, Any]) -> str:
    """The metadata as JSON with sorted keys; ValueError for numbers that are not finite."""
    return json.dumps(metadata, sort_keys=True, allow_nan=False, ensure_ascii=False)


def _checksum(tensors: dict[str, Array], metadata: dict[str, Any]) -> str:
    """SHA-256 of the metadata's text, without the checksum, then of the tensors' bytes (a state's sorted by name)."""
    digest = hashlib.sha256(_as_text(metadata).encode())
    for name in (*TENSORS, *sorted(tensors.keys() - set(TENSORS))):
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()


def _check_metadata(path: Path, metadata: Any, tensors: Sequence[str]) -> None:
    """Refuse a later format, and keys or tensors that are not those of a model."""
    version = metadata.get("format_version") if isinstance(metadata, dict) else None
    if not isinstance(version, int):
        raise ModelFileError(f"{path}: the file has no format version; it is damaged")
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{path}: model format {version}, and this torchlogit reads up to {FORMAT_VERSION}; upgrade torchlogit"
        )
    keys = KEYS if version < 3 else KEYS_SINCE_3
    own = {name for name in tensors if not (metadata.get("state") is not None and name.startswith(STATE))}
    if version >= 4:
        own.discard(CENTER)
    if set(metadata) != set(keys) or own != set(TENSORS):
        raise ModelFileError(f"{path}: the file's parts are not those of a model; it is damaged")


def _errors(values: object, shape: tuple[int, ...]) -> Array:
    """Standard errors as an array; NaN where there are none."""
    if values is None:
        return np.full(shape, np.nan)
    filled: Array = np.array(values, dtype=np.float64).reshape(shape)
    return filled


def load(path: str | Path) -> LogisticModel:
    """Read a model file.

    Parameters
    ----------
    path : str or Path
        A file that `torchlogit train`, `save` or `LogisticModel.save` wrote.

    Returns
    -------
    LogisticModel

    Raises
    ------
    ModelFileError
        If there is no such file, or it is not a torchlogit model, damaged, or of a later format.
    """
    return LogisticModel.load(path)
