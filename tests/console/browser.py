"""Chromium, driven through chromedriver by plain W3C WebDriver calls over HTTP.

Absent on most machines: `start` then raises `NoBrowser` and the tests that need it skip.
"""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"enter": "\ue007", "shift": "\ue008", "escape": "\ue00c", "tab": "\ue004"}


class NoBrowser(Exception):
    """Why there is none."""


class Browser:
    """One window. Use it in a `with`."""

    def __init__(self, folder: Path) -> None:
        chromium = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
        driver = shutil.which("chromedriver")
        if chromium is None or driver is None:
            raise NoBrowser("chromium and chromedriver are not installed")
        port = _free_port()
        command = [driver, f"--port={port}", "--log-level=OFF"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
        try:
            self._wait_for_driver()
            self._open(chromium, folder)
        except BaseException:
            self.close()
            raise

    def _wait_for_driver(self) -> None:
        end = time.monotonic() + 20
        while True:
            try:
                self._http.get("/status")
            except httpx.TransportError:
                if time.monotonic() > end:
                    raise NoBrowser("chromedriver did not start") from None
                time.sleep(0.05)
            else:
                return

    def _open(self, chromium: str, folder: Path) -> None:
        options = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={folder}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        answer = self._http.post("/session", json={"capabilities": {"alwaysMatch": wanted}})
        value = answer.json()["value"]
        if "sessionId" not in value:
            raise NoBrowser(f"chromium did not start: {value.get('message', '')[:200]}")
        self._session = f"/session/{value['sessionId']}"

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if hasattr(self, "_session"):
            self._http.delete(self._session)
        self._http.close()
        self._process.terminate()
        self._process.wait(10)

    def _do(self, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._http.post(self._session + path, json=body or {})
        value = answer.json()["value"]
        assert answer.status_code == 200, value
        return value

    def go(self, url: str) -> None:
        self._do("/url", {"url": url})

    def run(self, script: str, *values: object) -> Any:
        """The value of a JavaScript function body."""
        return self._do("/execute/sync", {"script": script, "args": list(values)})

    def command(self, name: str, **parameters: object) -> Any:
        """A command of Chromium's own protocol."""
        return self._do("/goog/cdp/execute", {"cmd": name, "params": parameters})

    def resize(self, width: int, height: int, *, mobile: bool = False) -> None:
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if mobile else 1,
            mobile=mobile,
        )

    def prefer(self, scheme: str) -> None:
        """ "light" or "dark", as the system would."""
        self.command(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
        )

    def find(self, selector: str) -> str:
        return self._do("/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector: str) -> None:
        self._do(f"/element/{self.find(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        self._do(f"/element/{self.find(selector)}/value", {"text": text})

    def press(self, *names: str) -> None:
        """Keys at once, where the focus is: press("shift", "enter")."""
        keys = [KEYS[name] for name in names]
        actions = [{"type": "keyDown", "value": key} for key in keys]
        actions += [{"type": "keyUp", "value": key} for key in reversed(keys)]
        self._do("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def text(self, selector: str) -> str:
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def count(self, selector: str) -> int:
        return self.run("return document.querySelectorAll(arguments[0]).length", selector)

    def until(self, script: str, *values: object, within_s: float = 15) -> Any:
        """Waits until the function body is truthy."""
        end = time.monotonic() + within_s
        while not (value := self.run(script, *values)):
            assert time.monotonic() < end, f"not within {within_s} s: {script} {values}"
            time.sleep(0.03)
        return value

    def logged(self) -> list[str]:
        """What the console said since the last call, warnings and errors."""
        entries = self._do("/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("WARNING", "SEVERE")]

    def screenshot(self, path: Path) -> None:
        answer = self._http.get(self._session + "/screenshot")
        path.write_bytes(base64.b64decode(answer.json()["value"]))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        return int(opened.getsockname()[1])
