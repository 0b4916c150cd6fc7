"""LogisticRegression by one reading of the rows: partial_fit, solver="streaming", and models that go on learning."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import check_classification_targets

from torchlogit.data.encoded_rows import EncodedRows
from torchlogit.data.targets import Targets
from torchlogit.errors import InputError
from torchlogit.estimator.inputs import as_array, read, validated_pair
from torchlogit.estimator.penalty import choice_of
from torchlogit.estimator.problem import Rows, canonical, hard_targets, offset_of, plain, weights
from torchlogit.inference import Refusal
from torchlogit.losses import loss_for
from torchlogit.model import LogisticModel
from torchlogit.penalties import ElasticNet
from torchlogit.records import Monitor, Params, StreamState
from torchlogit.streaming.loop import StreamBlock, StreamProgress, StreamResult, statement, stream
from torchlogit.streaming.newton import MAX_PARAMETERS, StreamingNewton
from torchlogit.streaming.scale_free import ScaleFree
from torchlogit.streaming.stream import Start, Stream

if TYPE_CHECKING:
    from torchlogit.estimator.classifier import LogisticRegression

Array = NDArray[np.float64]
Learner = StreamingNewton | ScaleFree
LEARNERS: dict[str, type[Learner]] = {"StreamingNewton": StreamingNewton, "ScaleFree": ScaleFree}


class Learning:
    """A stream under way, and how many rows of each class it has met: what partial_fit goes on from."""

    def __init__(self, learner: Learner, stream: Stream, counts: Array) -> None:
        self.learner, self.stream, self.counts = learner, stream, counts

    def record(self) -> StreamState:
        """All that it takes to go on."""
        state = self.stream.record()
        return StreamState(state.facts, {**state.arrays, "class_counts": self.counts.copy()})

    @classmethod
    def resumed(cls, state: StreamState) -> Learning:
        """The one that goes on from a record."""
        kind = LEARNERS.get(state.facts.get("learner", ""))
        if kind is None:
            raise InputError(f"learner {state.facts.get('learner')!r}: expected one of {', '.join(LEARNERS)}")
        experts = {name: tuple(state.facts[name]) for name in kind.__dataclass_fields__}
        learner = kind(**experts)
        return cls(learner, learner.resume(state), state.arrays["class_counts"].copy())


def reads_once(solver: object) -> bool:
    """Whether this solver, a name or an object, reads every row once."""
    return isinstance(solver, Learner) or (isinstance(solver, str) and solver == "streaming")


def partial_fit(
    model: LogisticRegression, X: Any, y: Any, classes: ArrayLike | None, sample_weight: ArrayLike | None
) -> None:
    """Learns from these rows, after all that came before; see LogisticRegression.partial_fit."""
    first = not hasattr(model, "coef_")
    given = read(X, y, () if first else tuple(getattr(model, "feature_names_in_", ())))
    features, labels = validated_pair(model, given, reset=first)
    check_classification_targets(labels)
    known = _classes(model, labels, classes)
    codes = _codes(labels, known)
    counts = weights(as_array(sample_weight), len(codes))
    learning = getattr(model, "_learning", None) or _begun(model, features.shape[1], len(known))
    weight = counts * _class_weights(model.class_weight, known, codes, learning.counts)
    rows = Rows(canonical(on_cpu(features)), Targets(known, codes, None), weight, counts)
    learning.stream.learn(rows.features, rows.target(loss_for(len(known)).n_outputs), weight)
    _show(model, learning, known)


def fit_in_one_pass(model: LogisticRegression, rows: Rows) -> None:
    """What solver="streaming" does: a new stream, and the rows in their order."""
    n_classes = len(rows.targets.classes)
    n_outputs = loss_for(n_classes).n_outputs
    learning = _begun(model, rows.features.shape[1], n_classes, anew=True)
    addition = None if rows.offset is None else offset_of(rows.offset, rows.features.shape[0], n_outputs)
    target = rows.target(n_outputs)
    learning.counts += target.sum(axis=0) if n_classes > 2 else np.array([(1 - target).sum(), target.sum()])
    learning.stream.learn(on_cpu(rows.features), target, rows.weight, addition)
    _show(model, learning, rows.targets.classes)


def learn_blocks(
    model: LogisticRegression,
    blocks: Iterable[EncodedRows],
    n_features: int,
    n_classes: int,
    monitors: Iterable[Monitor[StreamProgress]] = (),
) -> StreamResult:
    """What the command line does: rows that are encoded already, their classes being 0, 1, ..., each read once."""
    learning = getattr(model, "_learning", None) or _begun(model, n_features, n_classes)
    known, n_outputs = np.arange(n_classes), loss_for(n_classes).n_outputs

    def targeted() -> Iterator[StreamBlock]:
        for rows in blocks:
            codes = rows.codes.astype(np.int64)
            own = _class_weights(model.class_weight, known, codes, learning.counts)
            yield rows.features, hard_targets(codes, n_outputs), own if rows.weight is None else own * rows.weight

    result = stream(targeted(), learning.stream, monitors=monitors)
    _show(model, learning, known)
    return result


def on_cpu(features: Any) -> Any:
    """Features in main memory: rows are learned from one after the other."""
    return features.cpu().numpy() if isinstance(features, torch.Tensor) else features


def go_on(model: LogisticModel, estimator: LogisticRegression) -> LogisticRegression:
    """The estimator, made to go on from a saved model: `partial_fit` then takes encoded features.

    From its stream, where the model is one that was learned in one pass: then what came before and what comes now give
    what one stream of both would have. From any other, from its coefficients, held as firmly as its rows would hold
    them if they had looked like the first new ones.
    """
    estimator.classes_ = np.array(model.classes)
    estimator.coef_, estimator.intercept_ = model.coef.T.copy(), model.intercept.copy()
    estimator.n_features_in_ = len(model.coef)
    estimator.training_data_ = dict(model.facts.training_data)
    estimator._learning = None if model.state is None else Learning.resumed(model.state)
    return estimator


def _classes(model: LogisticRegression, labels: NDArray[Any], announced: ArrayLike | None) -> NDArray[Any]:
    """The classes, known from before, announced, or met in the first rows."""
    known: NDArray[Any] | None = getattr(model, "classes_", None)
    if announced is not None:
        given = np.unique(np.asarray(announced))
        if known is not None and not np.array_equal(given, known):
            raise InputError(f"classes={given.tolist()}: the model knows {known.tolist()}; start anew for others")
        known = given
    if known is None:
        known = np.unique(labels)
    if len(known) < 2:
        only = plain(known[0])
        raise InputError(
            f"y has one class only, {only!r}: announce all that may come, partial_fit(X, y, classes=[{only!r}, ...])"
        )
    return known


def _codes(labels: NDArray[Any], known: NDArray[Any]) -> NDArray[np.int64]:
    codes = np.searchsorted(known, labels).clip(0, len(known) - 1)
    strange = known[codes] != labels
    if strange.any():
        label = plain(labels[strange][0])
        raise InputError(
            f"y holds {label!r}, which is none of the classes {known.tolist()}: announce every class with the first "
            f"call of partial_fit, classes=[{label!r}, ...]"
        )
    return np.asarray(codes, dtype=np.int64)


def _class_weights(by: Any, known: NDArray[Any], codes: NDArray[np.int64], counts: Array) -> Array:
    """Each row's class weight; "balanced": rows so far / (classes * rows of this class so far), from one of each on.

    counts moves on by these rows.
    """
    met = counts + np.cumsum(np.eye(len(known))[codes], axis=0)
    own = met[np.arange(len(codes)), codes]
    counts[:] = met[-1]
    if by is None:
        return np.ones(len(codes))
    if isinstance(by, str):
        if by != "balanced":
            raise InputError(f"class_weight={by!r}: expected None, 'balanced' or a dict")
        return np.asarray((met.sum(axis=1) + len(known)) / (len(known) * (own + 1)))
    return np.array([by.get(label, 1.0) for label in known.tolist()])[codes]


def _begun(model: LogisticRegression, n_features: int, n_classes: int, *, anew: bool = False) -> Learning:
    """A new stream, from the fitted coefficients where there are some and it is not to be one anew."""
    if choice_of(model.l2) is not None and (anew or not hasattr(model, "l2_")):
        raise InputError("l2 is to be chosen, which rows that are read once cannot do: give a number, or fit first")
    penalty: ElasticNet = model._penalty(n_features)
    few = (n_features + 1) * (n_classes - 1) <= MAX_PARAMETERS
    learner = model.solver if isinstance(model.solver, Learner) else StreamingNewton() if few else ScaleFree()
    start = None
    if not anew and hasattr(model, "coef_"):
        params = Params(torch.tensor(model.coef_.T.copy()), torch.tensor(model.intercept_))
        start = Start(params, float(model.training_data_["weight"]))
    stream = learner.begin(n_features, n_classes, penalty, intercept=bool(model.fit_intercept), start=start)
    return Learning(learner, stream, np.zeros(n_classes))


def _show(model: LogisticRegression, learning: Learning, classes: NDArray[Any]) -> None:
    """What the stream has found, as the attributes of a fitted estimator."""
    answer = learning.stream.answer()
    model._learning, model.solver_, model.classes_ = learning, learning.learner, classes
    model.coef_ = answer.params.coef.T.numpy().copy()
    model.intercept_ = answer.params.intercept.numpy().copy()
    model._center = np.zeros(model.coef_.shape[1])
    model.n_iter_, model.history_ = 1.0, ()
    model.certificate_, model.progressive_ = statement(answer), answer.progressive
    model.expected_excess_ = answer.excess
    model.covariance_ = Refusal("rows that were read once prove no optimum that errors could be taken at")
    digest = hashlib.sha256()
    for name, array in sorted(learning.stream.record().arrays.items()):
        digest.update(name.encode() + array.tobytes())
    rows, weight = learning.stream.rows, answer.progressive.weight
    model.training_data_ = {"rows": rows, "weight": weight, "fingerprint": digest.hexdigest()}
