"""The command line as a user types it, run within this process, and its output without what varies from run to run."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack, chdir
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from unittest.mock import patch


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


def torchlogit(folder: Path, *arguments: str) -> Ended:
    """Runs `torchlogit ARGUMENTS` in a folder, as the console script does, within this process."""
    from torchlogit.cli.main import main

    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n", write_through=True) for _ in range(2)]
    code = 0
    with ExitStack() as stack:
        stack.enter_context(chdir(folder))
        stack.enter_context(patch.object(sys, "argv", ["torchlogit", *arguments]))
        stack.enter_context(patch.object(sys.modules["__main__"], "__package__", ""))  # click reads the name from it
        stack.enter_context(patch.object(sys, "stdout", streams[0]))
        stack.enter_context(patch.object(sys, "stderr", streams[1]))
        stack.enter_context(patch.dict(os.environ, {"COLUMNS": "80", "OMP_WAIT_POLICY": "PASSIVE"}))
        try:
            main()
        except SystemExit as end:
            code = cast(int, end.code)
        return Ended(code, *(stream.buffer.getvalue().decode() for stream in streams))


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.6g}"


NUMBER = r"[-+.\de]+"
MASKS: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"[\d.]+ passes over the rows, [\d.]+ s \(", "<passes> passes over the rows, <seconds> s ("),
    (r"^(solver .+), [\d.]+ passes$", r"\1, <passes> passes"),
    (rf'"passes": {NUMBER}', '"passes": <passes>'),
    (r"\d+\.\d\d s$", "<seconds> s"),
    (rf'"seconds": {NUMBER}', '"seconds": <seconds>'),
    (rf"at most {NUMBER} nats above the minimum, proven \({NUMBER} of it\)",
     "at most <bound> nats above the minimum, proven (<bound> of it)"),
    (rf"no coefficient is further than {NUMBER} of", "no coefficient is further than <bound> of"),
    (rf"proven within {NUMBER} of", "proven within <bound> of"),
    (rf'"(bound|relative_bound|standard_errors)": {NUMBER}', r'"\1": <bound>'),
    (r'"fingerprint": "[0-9a-f]{64}"', '"fingerprint": <sha256>'),
    (r'"(numpy|pyarrow|scikit-learn|torch|torchlogit)": "[^"]+"', r'"\1": <version>'),
    (r"-?\d+\.\d{10,}(?:e[-+]?\d+)?", _rounded),
]  # fmt: skip


def masked(text: str) -> str:
    """The text without what may differ between two runs that are both right."""
    for pattern, replacement in MASKS:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text
