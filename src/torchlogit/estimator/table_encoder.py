"""TableEncoder: the table encoder as a scikit-learn transformer."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from torchlogit.data.block import Block, as_block, recut
from torchlogit.data.encoding.encoder import Encoded, Encoder
from torchlogit.data.encoding.features import Matrix
from torchlogit.data.encoding.learn_encoder import EncoderOptions, learn_encoder
from torchlogit.data.encoding.origins import FeatureOrigin, feature_origins
from torchlogit.data.encoding.schema import Schema
from torchlogit.data.reading.tables import table_from
from torchlogit.errors import DataError, TorchlogitWarning


class TableEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Encodes a table of numbers, booleans, categories and texts as features.

    Parameters
    ----------
    numeric, categorical, text : sequence of str
        Names of the columns that are of this kind; the kind of the other columns is inferred from their values.
    drop : sequence of str
        Names of the columns to leave out.
    crosses : sequence of str
        Pairs of columns, "A:B"; each pair of their levels becomes a category of its own.
    hash_bits : int, optional
        If given, all levels of categorical columns share 2^hash_bits features, and in each column of text, all words
        share 2^hash_bits features. By default every level and every word has its own feature.
    standardize : bool, default True
        Whether numbers are encoded as (x - mean) / standard deviation, and all features are float32. If False, numbers
        are encoded as they are, and features are float64: for models without a penalty (l2=0), which do not depend on
        the scale of a column, but on whether columns are exact combinations of others.

    Attributes
    ----------
    schema_ : Schema
        What was learned about each column: all that `transform` needs.
    warnings_ : tuple of str
        Warnings about columns of the training table that may be a mistake, one sentence each.
    feature_names_in_, n_features_in_
        The columns of the training table.

    Notes
    -----
    A table is a pandas, polars or Arrow table, a dict of columns, or the path of a file. `fit` raises DataError for
    values that cannot be used: infinite ones, dates, free text, ids, nested types.

    Examples
    --------
    >>> people = {"age": [20, 30, 40, None], "job": ["clerk", "smith", "clerk", "?"]}
    >>> encoder = TableEncoder()
    >>> encoder.fit_transform(people).round(2)
    array([[-1.22,  0.  ,  1.  ,  0.  ,  0.  ],
           [ 0.  ,  0.  ,  0.  ,  1.  ,  0.  ],
           [ 1.22,  0.  ,  1.  ,  0.  ,  0.  ],
           [ 0.  ,  1.  ,  0.  ,  0.  ,  1.  ]], dtype=float32)
    >>> encoder.get_feature_names_out().tolist()
    ['age', 'age=NA', 'job=clerk', 'job=smith', 'job=NA']
    """

    def __init__(
        self,
        *,
        numeric: Sequence[str] = (),
        categorical: Sequence[str] = (),
        drop: Sequence[str] = (),
        text: Sequence[str] = (),
        crosses: Sequence[str] = (),
        hash_bits: int | None = None,
        standardize: bool = True,
    ) -> None:
        self.numeric = numeric
        self.categorical = categorical
        self.drop = drop
        self.text = text
        self.crosses = crosses
        self.hash_bits = hash_bits
        self.standardize = standardize

    @classmethod
    def from_schema(cls, schema: Schema) -> TableEncoder:
        """A fitted encoder with this schema.

        >>> learned = TableEncoder().fit({"age": [20, 30, 40]})
        >>> TableEncoder.from_schema(learned.schema_).transform({"age": [30]})
        array([[0.]], dtype=float32)
        """
        encoder = cls()
        encoder._remember(Encoder(schema), ())
        return encoder

    def fit(self, X: object, y: object = None) -> Self:
        """Learns the kind, the levels and the scale of each column of the table; `y` is ignored."""
        table = table_from(X)
        if table.num_rows == 0:
            raise DataError("the table has no rows; give at least one")
        options = EncoderOptions(
            self.numeric, self.categorical, self.drop, self.text, self.crosses, self.hash_bits, bool(self.standardize)
        )

        def read(names: Sequence[str]) -> Iterator[Block]:
            return recut([as_block(table.select(names))])

        self._remember(*learn_encoder(read, table.column_names, options))
        return self

    def transform(self, X: object) -> Matrix:
        """The features of a table, (n, n_features); warns of levels and missing values new since training."""
        encoded = self.encode(X)
        if encoded.messages:
            warnings.warn("; ".join(encoded.messages), TorchlogitWarning, stacklevel=3)
        return encoded.values

    def encode(self, X: object) -> Encoded:
        """The features of a table as `transform` returns them, and the warnings as data."""
        check_is_fitted(self)
        return self._encoder.encode(table_from(X))

    def get_feature_names_out(self, input_features: Sequence[str] | None = None) -> NDArray[np.object_]:
        """The names of the features: COLUMN, COLUMN=level, COLUMN=NA for the indicator of a missing value, ..."""
        check_is_fitted(self)
        if input_features is not None and list(input_features) != list(self.feature_names_in_):
            raise DataError("input_features differ from the columns of the training table; leave them out")
        return np.array(self.schema_.feature_names, dtype=object)

    def origins(self) -> tuple[FeatureOrigin, ...]:
        """The column, level, unit and zero of every feature, in order.

        >>> encoder = TableEncoder().fit({"age": [20, 40], "job": ["clerk", "smith"]})
        >>> [(origin.column, origin.level) for origin in encoder.origins()]
        [('age', None), ('job', 'clerk'), ('job', 'smith')]
        >>> encoder.origins()[0].unit  # how much the feature grows per year of age
        0.1
        """
        check_is_fitted(self)
        return feature_origins(self.schema_)

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # columns have names
        tags.input_tags.categorical = tags.input_tags.string = tags.input_tags.allow_nan = True
        return tags

    def _remember(self, encoder: Encoder, learned_warnings: tuple[str, ...]) -> None:
        self._encoder = encoder
        self.schema_ = encoder.schema
        self.warnings_ = learned_warnings
        self.feature_names_in_ = np.array(encoder.columns, dtype=object)
        self.n_features_in_ = len(encoder.columns)
