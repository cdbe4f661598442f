"""Headless Chromium, driven over its DevTools protocol: opens one page and reports what it did."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import websocket

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)
_START_TIMEOUT_S = 60
_ANSWER_TIMEOUT_S = 60
_MARGIN_PX = 16


def find_chromium() -> str | None:
    """Path of an installed Chromium, or None."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


class Page:
    """One tab. Every event the browser sends is kept in `events`."""

    def __init__(self, connection: websocket.WebSocket) -> None:
        self._connection = connection
        self._next_id = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Call one protocol method and return its result; events that arrive meanwhile are kept."""
        self._next_id += 1
        message: dict[str, Any] = {"id": self._next_id, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._connection.send(json.dumps(message))
        while (answer := self._receive()).get("id") != self._next_id:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._connection.recv())
        if "method" in message:
            self.events.append(message)
        return message

    def view(self, width: int, *, dark: bool = False, scale: float = 1) -> None:
        """Set the window's width, its pixel density and the colour scheme the reader prefers."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=scale,
            mobile=False,
        )
        self.send("Emulation.setScrollbarsHidden", hidden=True)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, path: Path) -> None:
        """Load a file and wait until all of it has arrived."""
        self.visit(path.resolve().as_uri())

    def visit(self, address: str) -> None:
        """The same for any address."""
        before = len(self.events)
        self.send("Page.navigate", url=address)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events[before:]):
            self._receive()

    def evaluate(self, expression: str, *, gesture: bool = False) -> Any:
        """The value of a JavaScript expression, of a promise what it comes to.

        The protocol runs it; the page's own policy still holds.

        Args:
            gesture: as if the reader had pressed something, which a page needs for sound.
        """
        answer = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=gesture
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(f"{details['text']}: {details.get('exception', {}).get('description', '')}")
        return answer["result"].get("value")

    def requests(self) -> list[str]:
        """Every address the browser asked for, in order."""
        return [
            event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """Console messages, exceptions, and violations of the page's own security policy."""
        found = []
        for event in self.events:
            params = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(params["exceptionDetails"]["text"])
            elif event["method"] == "Runtime.consoleAPICalled":
                found.append(f"console.{params['type']}")
            elif event["method"] == "Log.entryAdded":
                found.append(params["entry"]["text"])
        return found

    def press(self, key: str, code: str, text: str = "") -> None:
        """One key, down and up, where the focus is."""
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=code, **more)

    def screenshot(self, target: Path, selector: str | None = None, height: float | None = None) -> None:
        """Save the whole page, or the first element that a CSS selector finds with a margin around it, as a PNG.

        Args:
            selector: None for the page from top to bottom.
            height: cut the picture here, in CSS pixels.
        """
        clip = {}
        if selector is not None:
            x, y, width, full = self.evaluate(
                f"(() => {{ const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
                "return [box.x + scrollX, box.y + scrollY, box.width, box.height] })()"
            )
            m = min(_MARGIN_PX, x, y)
            shown = min(full, height or full)
            clip["clip"] = {"x": x - m, "y": y - m, "width": width + 2 * m, "height": shown + 2 * m, "scale": 1}
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, **clip)["data"]
        target.write_bytes(base64.b64decode(data))

    def pdf(self) -> bytes:
        """The page as it prints, with its own paper size."""
        return base64.b64decode(self.send("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"])


@contextlib.contextmanager
def chromium(executable: str, profile: Path, *flags: str) -> Iterator[Page]:
    """A fresh browser with one page, started with further `flags`; ends with the block, whatever happens in it."""
    profile.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [executable, *_FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        connection = websocket.create_connection(_address(profile, process), timeout=_ANSWER_TIMEOUT_S)
        try:
            yield Page(connection)
        finally:
            connection.close()
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(profile: Path, process: subprocess.Popen[bytes]) -> str:
    """Where the browser listens; it writes its port and path into the profile once it does."""
    written = profile / "DevToolsActivePort"
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"Chromium ended at once, with status {process.returncode}")
        lines = written.read_text().split() if written.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    raise RuntimeError(f"Chromium did not open its protocol port within {_START_TIMEOUT_S} s")
