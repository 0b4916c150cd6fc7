"""What learners of columns return."""

from __future__ import annotations

from typing import TypeAlias

from torchlogit.records import Column, DroppedColumn

Learned: TypeAlias = tuple[Column | DroppedColumn, tuple[str, ...]]
"""What is kept of a column, and what deserves a look, one sentence each."""
