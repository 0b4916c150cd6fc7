"""Where the project's files are, and those too large for it."""

from __future__ import annotations

import os
from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
GOLDEN = TESTS / "golden"
DATA = Path(os.environ.get("TORCHLOGIT_DATA") or ROOT.parent / "shared" / "data")
