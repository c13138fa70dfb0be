"""`fairway` in processes of its own, to be killed: in a new interpreter, or forked from one with its imports.

A fork takes a tenth of the time. Imports write nothing, so that both leave the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias


class Child(Protocol):
    """A process, as `subprocess.Popen` is one."""

    def poll(self) -> int | None: ...

    def kill(self) -> None: ...

    def wait(self) -> int: ...


Begin: TypeAlias = Callable[[Sequence[str], Path], Child]


def fresh(command: Sequence[str], said: Path) -> Child:
    """`python -m fairway COMMAND`; what it says goes to a file."""
    with said.open("wb") as file:
        whole = [sys.executable, "-m", "fairway", *command]
        return subprocess.Popen(whole, stdout=subprocess.DEVNULL, stderr=file)


def forked(command: Sequence[str], said: Path) -> Child:
    """The same in a fork of this process, which imports PyTorch and computes nothing."""
    from fairway.cli.main import run
    from fairway.tune import quote, trainer  # noqa: F401  everything that training imports, once

    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return _Forked(child)
    with said.open("wb") as file:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(file.fileno(), 2)
    os._exit(run(list(command)))


class _Forked:
    def __init__(self, number: int) -> None:
        self._number = number
        self._code: int | None = None

    def poll(self) -> int | None:
        return self._ended(os.WNOHANG)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self._number, 9)

    def wait(self) -> int:
        code = self._ended(0)
        assert code is not None
        return code

    def _ended(self, how: int) -> int | None:
        if self._code is None:
            done, status = os.waitpid(self._number, how)
            self._code = os.waitstatus_to_exitcode(status) if done else None
        return self._code
