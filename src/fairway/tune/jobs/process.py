"""A program of ours that outlives whoever started it, at low priority, found again by the lock it holds.

Run as a program it is `python -m fairway.tune.jobs.process LOCK NICENESS COMMAND...`: it takes the lock,
writes its number into it, steps back, and becomes COMMAND. The lock goes with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

MOST_NICE = 19
TAKEN = 75
"""Exit code: another process holds the lock. As sysexits.h has it: try again later."""


class Process:
    """The one process of a lock file. Not thread-safe."""

    def __init__(self, lock: Path, said: Path) -> None:
        """`said`: where it writes what it has to say; the answer goes to `answer`."""
        self._lock, self.said = lock, said
        self.answer = said.with_suffix(".json")
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str], niceness: int) -> None:
        """Begins it; it lives on when this process dies."""
        wrapped = [sys.executable, "-m", __name__, str(self._lock), str(niceness), *command]
        with self.said.open("wb") as said, self.answer.open("wb") as answer:
            self._child = subprocess.Popen(wrapped, stdin=subprocess.DEVNULL, stdout=answer, stderr=said)

    def is_running(self) -> bool:
        if self._child is not None and self._child.poll() is None:
            return True
        return is_held(self._lock)

    @property
    def exit_code(self) -> int | None:
        """None: unknown, for it was started by a server that is gone."""
        return None if self._child is None else self._child.poll()

    def ask_to_stop(self) -> None:
        """It finishes its update, writes a checkpoint and ends."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def wait(self, seconds: float) -> bool:
        """Whether it ended within so long."""
        end = time.monotonic() + seconds
        while self.is_running():
            if time.monotonic() >= end:
                return False
            time.sleep(0.02)
        return True

    def last_words(self) -> str:
        """What it said on stderr, without progress."""
        text = self.said.read_text("utf-8", "replace") if self.said.is_file() else ""
        return " ".join(text.split())[-2000:].removeprefix("Error: ")

    def _signal(self, number: int) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)
        elif is_held(self._lock):
            with suppress(ValueError, ProcessLookupError):
                os.kill(int(self._lock.read_text()), number)


def is_held(lock: Path) -> bool:
    """Whether a process that lives has taken it."""
    if not lock.is_file():
        return False
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def take(lock: Path) -> int | None:
    """A descriptor that holds the lock until it is closed; None where another process has it."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def step_back(niceness: int) -> None:
    """As nice as said; at the most, only the time that nobody else wants, where the system knows that."""
    with suppress(OSError):
        os.nice(max(0, niceness - os.nice(0)))
    if niceness == MOST_NICE and hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def main() -> None:
    lock, niceness, *command = sys.argv[1:]
    descriptor = take(Path(lock))
    if descriptor is None:
        sys.exit(TAKEN)
    os.set_inheritable(descriptor, True)
    os.setpgid(0, 0)  # Ctrl-C in the server's terminal is the server's alone
    step_back(int(niceness))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
