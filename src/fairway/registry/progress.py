"""How long work tells how far it is: one callable, the same for downloads and for weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int, str], None]
"""Called with (done, total, what); bytes for a download."""
