"""`serving` of the server's tests, whose conftest cannot be imported by name from here."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_PATH = Path(__file__).parents[1] / "server" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("server_conftest", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)
serving = _MODULE.serving
