"""Reads the rows of torch's data sets and loaders, in blocks if the data set can return several rows at once."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from torchlogit.errors import DataError, TorchlogitWarning

BLOCK_ROWS = 1 << 14  # rows requested at a time; more rows need fewer calls and more memory

Tensors = tuple[Tensor, ...]  # the parts of a data set's rows, usually x and y, each as one tensor (n, ...)


def is_dataset(X: object) -> bool:
    """Whether X is a data set or a loader of torch. The check does not import torch.utils.data."""
    module = sys.modules.get("torch.utils.data")
    return module is not None and isinstance(X, module.Dataset | module.DataLoader)


def all_rows(data: Any) -> Tensors:
    """All rows of a data set or a loader.

    The rows of a data set come in its order. A loader that takes every row once, with or without shuffling, gives the
    rows of its data set; any other loader gives the batches of one epoch. Warns if rows can only be read one at a time,
    which is slow.
    """
    from torch.utils.data import DataLoader

    parts = _of_loader(data) if isinstance(data, DataLoader) else _of_dataset(data)
    if not len(parts[0]):
        raise DataError(f"the {type(data).__name__} has no rows; give one with rows")
    return parts


def pair(parts: Tensors) -> tuple[Tensor, Tensor]:
    """The features and the target, if the rows have exactly these two parts; else DataError."""
    if len(parts) != 2:
        raise DataError(f"the rows of the data set have {len(parts)} parts; expected two, x and y, or y on its own")
    return parts[0], parts[1]


def _of_loader(loader: Any) -> Tensors:
    """The rows of the loader's data set if it changes only their order; else the batches of one epoch."""
    from torch.utils.data import RandomSampler, SequentialSampler, default_collate

    sampler = getattr(loader, "sampler", None)
    every = type(sampler) is SequentialSampler or (
        type(sampler) is RandomSampler and not sampler.replacement and sampler.num_samples == len(loader.dataset)
    )
    if every and loader.batch_size is not None and loader.collate_fn is default_collate:
        return _of_dataset(loader.dataset)
    if not _in_blocks(loader.dataset):
        _warn(loader.dataset)
    return _joined(_parts(batch) for batch in loader)


def _of_dataset(dataset: Any) -> Tensors:
    if isinstance(tensors := getattr(dataset, "tensors", None), tuple):
        return tensors
    from torch.utils.data import ConcatDataset, Subset

    if type(dataset) is Subset:
        rows = torch.as_tensor(list(dataset.indices))
        whole = getattr(dataset.dataset, "tensors", None)
        if isinstance(whole, tuple):
            return tuple(part[rows.to(part.device)] for part in whole)
    if type(dataset) is ConcatDataset:
        return _joined(_of_dataset(part) for part in dataset.datasets)
    if not _in_blocks(dataset):
        _warn(dataset)
    return _joined(_collated(block) for block in _blocks(dataset))


def _in_blocks(dataset: Any) -> bool:
    """Whether several rows can be read at once. A Subset always has `__getitems__`, so its data set is checked."""
    from torch.utils.data import ConcatDataset, Subset

    if isinstance(dataset, Subset):
        return _in_blocks(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        return all(map(_in_blocks, dataset.datasets))
    return hasattr(dataset, "tensors") or hasattr(dataset, "__getitems__")


def _blocks(dataset: Any) -> Iterator[Any]:
    if not hasattr(dataset, "__len__"):
        rows = iter(dataset)
        yield from iter(lambda: list(islice(rows, BLOCK_ROWS)), [])
        return
    for start in range(0, len(dataset), BLOCK_ROWS):
        block = list(range(start, min(len(dataset), start + BLOCK_ROWS)))
        yield dataset.__getitems__(block) if hasattr(dataset, "__getitems__") else [dataset[i] for i in block]


def _collated(block: Any) -> Tensors:
    """The rows collated as torch does it; a block that already has one tensor per part is returned unchanged."""
    from torch.utils.data import default_collate

    together = isinstance(block, tuple) and all(isinstance(part, Tensor) for part in block)
    return _parts(block if together else default_collate(block))


def _parts(batch: Any) -> Tensors:
    parts = (batch,) if isinstance(batch, Tensor) else batch
    if not isinstance(parts, Sequence) or not all(isinstance(part, Tensor) for part in parts):
        raise DataError(f"the data set gives {type(batch).__name__}; expected tensors, or pairs of x and y")
    return tuple(parts)


def _joined(blocks: Iterable[Tensors]) -> Tensors:
    joined = tuple(torch.cat(part) for part in zip(*blocks, strict=True))
    if not joined:
        raise DataError("the data set has no rows; give one with rows")
    return joined


def _warn(dataset: Any) -> None:
    warnings.warn(
        f"{type(dataset).__name__} gives its rows one at a time, which takes longer than the fit: "
        f"a TensorDataset, or a method __getitems__, is read in whole blocks",
        TorchlogitWarning,
        stacklevel=2,
    )
