"""Texts as words in tf-idf, by scikit-learn's vectorisers; what they learned is kept as counts.

A word is two letters or digits and more, in lower case. A text that holds a word t times has (1 + ln t) idf for it,
idf = 1 + ln((1 + n_texts) / (1 + count)), and all is divided by its Euclidean norm. A missing text is an empty one.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from torchlogit.data.block import Locate
from torchlogit.data.columns import is_text
from torchlogit.data.encoding.features import Part, Several
from torchlogit.data.encoding.learned import Learned
from torchlogit.data.encoding.remarks import Remarks
from torchlogit.errors import DataError
from torchlogit.records import HashedTextColumn, TextColumn

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import HashingVectorizer

MOST_WORDS = 1 << 22  # of a column that is not hashed


class WordLearner:
    """Learns the words of a column of texts, and how many texts hold each."""

    def __init__(self, name: str) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        self._name = name
        self._words_of = CountVectorizer().build_analyzer()
        self._counts: Counter[str] = Counter()
        self._n_texts = 0

    def update(self, column: pa.ChunkedArray, locate: Locate) -> None:
        """Looks at more texts."""
        for text in _texts(self._name, column):
            self._counts.update({*self._words_of(text)})
            self._n_texts += 1
        if len(self._counts) > MOST_WORDS:
            raise DataError(
                f"column {self._name!r} holds more than {MOST_WORDS:,} different words, each a feature of its own; "
                f"hash them (hash_bits=20 or --hash-bits 20)",
                column=self._name,
            )

    def result(self) -> Learned:
        """What was learned."""
        if not self._counts:
            name = self._name
            raise DataError(f"column {name!r} holds no words to learn from; leave it out of text", column=name)
        words = tuple(sorted(self._counts))
        counts = tuple(self._counts[word] for word in words)
        return TextColumn(self._name, words, counts, self._n_texts, sum(counts) / self._n_texts), ()


class HashedWordLearner:
    """Learns how many texts hold a word at each of the 2^bits places."""

    def __init__(self, name: str, bits: int) -> None:
        self._name = name
        self._vectorizer = _hashing(2**bits)
        self._counts: NDArray[np.int64] = np.full(2**bits, 0, np.int64)
        self._n_texts = 0

    def update(self, column: pa.ChunkedArray, locate: Locate) -> None:
        """Looks at more texts."""
        texts = _texts(self._name, column)
        self._counts += np.bincount(self._vectorizer.transform(texts).indices, minlength=len(self._counts))
        self._n_texts += len(texts)

    def result(self) -> Learned:
        """What was learned."""
        counts = tuple(self._counts.tolist())
        return HashedTextColumn(self._name, counts, self._n_texts, sum(counts) / self._n_texts), ()


class TextEncoder:
    """Encodes the tf-idf of each text's words; words that training has not seen are left out."""

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

    def encode(self, values: pa.ChunkedArray) -> tuple[list[Part], Remarks]:
        from sklearn.preprocessing import normalize

        counted = self._vectorizer.transform(_texts(self._name, values))
        counted.sort_indices()
        counted.data = ((1 + np.log(counted.data)) * self._idf[counted.indices]).astype(np.float32)
        return [Several(csr_array(normalize(counted, copy=False)), self._start)], ()


def _hashing(n_features: int) -> HashingVectorizer:
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(n_features=n_features, alternate_sign=False, norm=None, dtype=np.float32)


def _texts(name: str, column: pa.ChunkedArray) -> list[str]:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (is_text(kind) or pa.types.is_null(kind)):
        raise DataError(f"column {name!r} holds values of type {kind}, where texts were expected", column=name)
    return [text or "" for text in column.to_pylist()]
