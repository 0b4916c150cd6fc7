"""Columns of text: words weighted by tf-idf, by scikit-learn's vectorisers.

A word is two or more letters or digits, in lower case. If a word occurs t > 0 times in a text, its feature is
(1 + ln t) idf with idf = 1 + ln((1 + n_texts) / (1 + count)), where n_texts is the number of texts in training and
count the number of those that hold the word. All features of a text are then divided by their Euclidean norm. A missing
text is treated as empty. scikit-learn is imported only if there is a column of text.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from torchlogit.data.block import Locate
from torchlogit.data.columns import is_text
from torchlogit.data.encoding.column_kind import ColumnKind, Learned, LearningLimits
from torchlogit.data.encoding.features import EncodedColumn, SparseBlock
from torchlogit.data.encoding.row_warnings import RowWarnings
from torchlogit.errors import DataError

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import HashingVectorizer


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of text with one feature per word: counts[j] of the n_texts texts in training hold words[j].

    filled: the mean number of different words in a text.
    """

    name: str
    words: tuple[str, ...]
    counts: tuple[int, ...]
    n_texts: int
    filled: float
    kind: ColumnKind = ColumnKind.TEXT

    @property
    def n_features(self) -> int:
        return len(self.words)

    @property
    def feature_names(self) -> list[str]:
        return [f"{self.name}={word}" for word in self.words]


@dataclass(frozen=True, slots=True)
class HashedTextColumn:
    """A column of text whose words are hashed: counts[j] of the n_texts texts in training hold a word with hash j."""

    name: str
    counts: tuple[int, ...]
    n_texts: int
    filled: float
    kind: ColumnKind = ColumnKind.HASHED_TEXT

    @property
    def n_features(self) -> int:
        return len(self.counts)

    @property
    def feature_names(self) -> list[str]:
        return [f"{self.name}[{place}]" for place in range(len(self.counts))]


class TextLearner:
    """Learns the words of a column of text, and how many texts hold each."""

    def __init__(self, name: str, limits: LearningLimits) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        self._name = name
        self._max_words = limits.max_words
        self._words_of = CountVectorizer().build_analyzer()
        self._counts: Counter[str] = Counter()
        self._n_texts = 0

    def update(self, column: pa.ChunkedArray, locate: Locate) -> None:
        for text in _texts(self._name, column):
            self._counts.update({*self._words_of(text)})
            self._n_texts += 1
        if len(self._counts) > self._max_words:
            raise DataError(
                f"column {self._name!r} holds more than {self._max_words:,} different words, "
                f"each a feature of its own; hash them (hash_bits=20 or --hash-bits 20)",
                column=self._name,
            )

    def result(self) -> Learned:
        if not self._counts:
            name = self._name
            raise DataError(f"column {name!r} holds no words to learn from; leave it out of text", column=name)
        words = tuple(sorted(self._counts))
        counts = tuple(self._counts[word] for word in words)
        return Learned(TextColumn(self._name, words, counts, self._n_texts, sum(counts) / self._n_texts))


class HashedTextLearner:
    """Learns how many texts hold a word with each of the 2^bits hashes."""

    def __init__(self, name: str, bits: int) -> None:
        self._name = name
        self._vectorizer = _hashing(2**bits)
        self._counts: NDArray[np.int64] = np.full(2**bits, 0, np.int64)
        self._n_texts = 0

    def update(self, column: pa.ChunkedArray, locate: Locate) -> None:
        texts = _texts(self._name, column)
        self._counts += np.bincount(self._vectorizer.transform(texts).indices, minlength=len(self._counts))
        self._n_texts += len(texts)

    def result(self) -> Learned:
        counts = tuple(self._counts.tolist())
        return Learned(HashedTextColumn(self._name, counts, self._n_texts, sum(counts) / self._n_texts))


class TextEncoder:
    """Encodes the tf-idf of each text's words; words that did not occur in training are left out."""

    def __init__(self, column: TextColumn | HashedTextColumn, start: int) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        self._name = column.name
        self._start = start
        self._idf = 1 + np.log((1 + column.n_texts) / (1 + np.array(column.counts)))
        self._vectorizer = (
            CountVectorizer(vocabulary=column.words, dtype=np.float32)
            if isinstance(column, TextColumn)
            else _hashing(len(column.counts))
        )

    def encode(self, values: pa.ChunkedArray) -> tuple[list[EncodedColumn], RowWarnings]:
        from sklearn.preprocessing import normalize

        counted = self._vectorizer.transform(_texts(self._name, values))
        counted.sort_indices()
        counted.data = ((1 + np.log(counted.data)) * self._idf[counted.indices]).astype(np.float32)
        return [SparseBlock(csr_array(normalize(counted, copy=False)), self._start)], ()


def _hashing(n_features: int) -> HashingVectorizer:
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(n_features=n_features, alternate_sign=False, norm=None, dtype=np.float32)


def _texts(name: str, column: pa.ChunkedArray) -> list[str]:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (is_text(kind) or pa.types.is_null(kind)):
        raise DataError(f"column {name!r} holds values of type {kind}, where texts were expected", column=name)
    return [text or "" for text in column.to_pylist()]
