"""Atomic writes of files: to a temporary file in the same folder, flushed to the disk, then renamed. And lock files.

A *tree* is a checkpoint's content: tensors, numbers, text, booleans and None, in lists and in mappings by name. Its
file is safetensors: the tensors, and under the metadata key "torchlogit" the rest as one JSON object. No pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from torchlogit.errors import CheckpointError, InputError

if TYPE_CHECKING:
    import torch

KEY = "torchlogit"  # the metadata key of the JSON object
START_OVER = "start again in another folder"  # how messages about unusable checkpoints end
TENSOR_KEY = "$tensor"  # the JSON object {TENSOR_KEY: name} stands for the tensor of that name
DTYPES = {"float64": "F64", "float32": "F32", "int64": "I64", "int32": "I32", "uint8": "U8", "bool": "BOOL"}
"""safetensors' names of torch's types."""


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file to write to, which replaces `path` when the block ends; if anything fails, `path` is unchanged.

    A symbolic link is followed. A path that is no regular file, such as a pipe or a device, is written to directly.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            yield file
        return
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise InputError(f"{path}: cannot write there ({error.strerror}); choose another folder") from None
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot write the file ({error.strerror}); nothing was changed") from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(target.parent)


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file, completely or not at all."""
    with replacing(path) as file:
        file.write(content)


def save_tree(path: Path, tree: Mapping[str, Any], kind: str, version: int) -> None:
    """Writes a tree to a file, completely or not at all; its tensors are not copied in memory.

    kind, version: what the tree holds, such as "checkpoint", and the version of its format; `load_tree` checks both.
    """
    tensors: dict[str, torch.Tensor] = {}

    def reference(name: str, tensor: torch.Tensor) -> dict[str, str]:
        tensors[name] = tensor.detach().cpu().contiguous()
        return {TENSOR_KEY: name}

    content = {"kind": kind, "format_version": version, "tree": map_tensors(tree, reference)}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    entries, end = dict[str, Any](), 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        dtype = DTYPES[str(tensor.dtype).removeprefix("torch.")]
        entries[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [end, end + size]}
        end += size
    metadata = {KEY: text, "checksum": _checksum(text, tensors)}
    header = json.dumps({"__metadata__": metadata, **entries}).encode()
    header += b" " * (-len(header) % 8)
    with replacing(path) as file:
        file.write(struct.pack("<Q", len(header)))
        file.write(header)
        for tensor in tensors.values():
            file.write(_bytes(tensor))


def load_tree(path: Path, kind: str, version: int) -> dict[str, Any]:
    """The tree in a file; CheckpointError where the file is damaged, or of another kind or version."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            text = metadata.get(KEY, "{}")
            content = json.loads(text)
            if content.get("kind") != kind:
                raise CheckpointError(f"{path}: not a {kind} of torchlogit; choose another folder")
            if content["format_version"] != version:
                raise CheckpointError(
                    f"{path}: {kind} format {content['format_version']}, and this torchlogit reads format "
                    f"{version}; use the version that wrote it, or {START_OVER}"
                )
            # Copied, so that they are aligned as newly made tensors are: the last bits of some sums depend on it.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        if metadata.get("checksum") != _checksum(text, tensors):
            problem = f"the checksum does not fit the contents: the {kind} is damaged"
            raise CheckpointError(f"{path}: {problem}; {START_OVER}")
        return dict(_with_tensors(content["tree"], tensors))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read the {kind} ({error.strerror}); {START_OVER}") from None
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: not a {kind} of torchlogit, or a damaged one; {START_OVER}") from None


def map_tensors(tree: Any, change: Callable[[str, torch.Tensor], Any], name: str = "") -> Any:
    """The tree with change(name, tensor) in place of every tensor; the tensor tree["a"][1] is called "a.1".

    Raises InputError for a value of a type that a tree cannot hold.
    """
    import torch

    if isinstance(tree, torch.Tensor):
        return change(name, tree)
    prefix = f"{name}." if name else ""
    if isinstance(tree, Mapping):
        return {str(key): map_tensors(part, change, f"{prefix}{key}") for key, part in tree.items()}
    if isinstance(tree, list | tuple):
        return [map_tensors(part, change, f"{prefix}{index}") for index, part in enumerate(tree)]
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise InputError(f"{name} is a {type(tree).__name__}, which a checkpoint cannot hold; fit without checkpoints")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock on a file, in which this process's id is written; its folder is made if it is missing.

    InputError where another process holds the lock. The system releases the lock of a process that has ended.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise InputError(f"{path.parent}: cannot write there ({error.strerror}); choose another folder") from None
    with file:
        if not _acquired(file):
            file.seek(0)
            holder = f"process {pid}" if (pid := file.read().strip()) else "another process"
            raise InputError(f"{path.parent}: in use by {holder}; wait until it ends, or choose another folder")
        _write_holder(file, str(os.getpid()))
        yield
        _write_holder(file, "")


def _acquired(file: IO[str]) -> bool:
    """Takes the lock, unless another process holds it; True, too, where the system or the file system has no locks."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _write_holder(file: IO[str], holder: str) -> None:
    """Writes who holds the lock. Only messages need it, so a full disk is no error."""
    with suppress(OSError):
        file.truncate(0)
        os.write(file.fileno(), holder.encode())


def _flush_folder(folder: Path) -> None:
    """Flushes a folder, so that a rename in it survives a crash, on systems that allow it."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _with_tensors(tree: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(tree, dict):
        tensor = tree.get(TENSOR_KEY)
        return tensors[tensor] if tensor else {key: _with_tensors(part, tensors) for key, part in tree.items()}
    return [_with_tensors(part, tensors) for part in tree] if isinstance(tree, list) else tree


def _checksum(text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of the text and of the tensors' names and bytes."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(_bytes(tensors[name]))
    return digest.hexdigest()


def _bytes(tensor: torch.Tensor) -> Any:
    """The tensor's bytes, not copied."""
    return tensor.reshape(-1).numpy().view("uint8").data
