"""PyTorch, which training needs and nothing else here does."""

from __future__ import annotations

import importlib.util

from fairway.errors import MissingExtra

INSTALL = "pip install 'fairway[tune]'"


def require_torch() -> None:
    """Raises `MissingExtra`. Only files that train may import torch, and only after this."""
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("Training needs PyTorch, which is not installed.", hint=f"Run: {INSTALL}.")
