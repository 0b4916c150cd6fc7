"""Support for scikit-learn's callbacks (since 1.9): every step of a fit is a task in their sense."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from numpy.typing import NDArray

from torchlogit.records import FitProgress, Params, Status
from torchlogit.training.fitted import Fitted

__all__ = ["CallbackSupportMixin", "Tasks", "with_callbacks"]

Method = TypeVar("Method")


class NoCallbackSupport:
    """Stands in for CallbackSupportMixin, which scikit-learn has since 1.9."""


def without_callbacks(method: Method) -> Method:
    """The method, unchanged. Stands in for with_callbacks, which scikit-learn has since 1.9."""
    return method


try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:
    CallbackSupportMixin, with_callbacks = NoCallbackSupport, without_callbacks


class Tasks:
    """A monitor that reports every step to an estimator's callbacks; each of them may end the fit.

    X, y, sample_weight: the arguments of `fit`. classes: the labels, which a fitted estimator needs to predict.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, classes: NDArray[Any]) -> None:
        self.classes, self.asked = classes, False
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.facts = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.whole = estimator._init_callback_context(max_subtasks=None)
        self.whole.call_on_fit_task_begin(**self.facts)
        self.step = self._next()

    @classmethod
    def needed(cls, estimator: Any) -> bool:
        """Whether the estimator, or one that it is a part of, has callbacks."""
        return "_skl_callbacks" in estimator.__dict__ or "_parent_callback_ctx" in estimator.__dict__

    def __call__(self, progress: FitProgress) -> bool:
        """Ends the task of this step and begins the next; returns whether a callback has asked to end the fit."""
        self.asked |= self.step.call_on_fit_task_end(
            **self.facts, reconstruction_attributes=lambda: self._fitted_attributes(progress.params)
        )
        self.step = self._next()
        return self.asked

    def explained(self, fitted: Fitted) -> Fitted:
        """The result; if a callback ended the fit, its certificate says so."""
        if not self.asked or fitted.certificate.status is not Status.BUDGET:
            return fitted
        assert fitted.certificate.reason is not None, "a fit that is not certified has a reason to end"
        reason = replace(fitted.certificate.reason, cause="stopped by a callback")
        return replace(fitted, certificate=replace(fitted.certificate, reason=reason))

    def end(self) -> None:
        """Ends the task that began after the last step, and the task of the whole fit."""
        self.step.call_on_fit_task_end(estimator=self.facts["estimator"])
        self.whole.call_on_fit_task_end(**self.facts, reconstruction_attributes={})

    def _fitted_attributes(self, params: Params) -> dict[str, Any]:
        """The attributes that an estimator needs to predict with these parameters."""
        coef, intercept = params.coef.T.numpy().copy(), params.intercept.numpy()
        return {"coef_": coef, "intercept_": intercept, "classes_": self.classes}

    def _next(self) -> Any:
        return self.whole.subcontext(task_name="step").call_on_fit_task_begin(**self.facts)
