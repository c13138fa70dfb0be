"""A terminal for a program under test: keys go in, the screen comes out (POSIX only)."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping, Sequence


class Terminal:
    """`with Terminal([...]) as screen:` runs a program with a terminal of its own."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._command = list(command)
        self._environment = {**os.environ, "TERM": "dumb", "NO_COLOR": "1", **(environment or {})}
        self.text = ""

    def __enter__(self) -> Terminal:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            self._command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=self._environment,
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        os.close(slave)
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def control(self, letter: str) -> None:
        """Ctrl-C or Ctrl-D, a moment after the last output: readline is deaf while it sets up a line."""
        time.sleep(0.3)
        self.type(chr(ord(letter) - 64))

    def expect(self, wanted: str, timeout_s: float = 30) -> str:
        """Reads until `wanted` is on the screen; returns what came before it and forgets both."""
        end = time.monotonic() + timeout_s
        while wanted not in self.text:
            self._read(end - time.monotonic(), wanted)
        before, _, self.text = self.text.partition(wanted)
        return before

    def wait(self, timeout_s: float = 30) -> int:
        """The exit code, once the program has ended."""
        end = time.monotonic() + timeout_s
        while self._process.poll() is None and time.monotonic() < end:
            if select.select([self._master], [], [], 0.05)[0]:
                self._take()
        return self._process.wait(0)

    def _read(self, timeout_s: float, wanted: str) -> None:
        ready = timeout_s > 0 and select.select([self._master], [], [], timeout_s)[0]
        assert ready and self._take(), f"{wanted!r} did not come; the screen says {self.text!r}"

    def _take(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux says EIO when the program has closed its side
            return False
        self.text += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)


def _own_terminal() -> None:
    """Makes the terminal the controlling one, so that Ctrl-C becomes a signal, and heeds that signal:
    what a shell starts in the background ignores it, and so would all that descends from it."""
    import fcntl
    import signal
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
