"""A real server around any runtimes, for one test or many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from fairway.runtimes.protocol import Runtime
from fairway.server.app import create_app
from fairway.server.model_table import ModelTable
from fairway.server.run import ServerThread
from fairway.server.settings import ServerSettings


@contextmanager
def serving(*runtimes: Runtime, pages=(), **settings) -> Iterator[ServerThread]:
    """On a free port, as `server.app` made it; the runtimes are closed with it."""
    with TemporaryDirectory() as state:
        settings = {"state_folder": str(Path(state) / "state"), **settings}
        table = ModelTable({each.info.name: each for each in runtimes})
        app = create_app(table, ServerSettings(port=0, **settings), pages)
        try:
            with ServerThread(app) as server:
                server.app = app
                yield server
        finally:
            for each in runtimes:
                each.close()
