"""A running server with its page in a real browser, and a reader who presses things."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spoofcheck.serve.app import build_app
from spoofcheck.serve.settings import Settings
from tests.page.browser import Page

PATIENCE_S = 120.0
"""Far more than anything takes: a machine may be loaded."""


class Faults:
    """Stands before an application and answers in its place where it was told to."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.planned: list[tuple[str, str, int, dict[str, str]]] = []
        """Method, start of the path, status, headers: each is answered once, in this order."""
        self.key: str | None = None
        """What the API's header `x-api-key` must hold; None: nothing is asked for."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            shown = dict(scope["headers"]).get(b"x-api-key", b"").decode()
            if self.key is not None and scope["path"].startswith(("/v1", "/page/scans")) and shown != self.key:
                await _refuse(receive, send, 401, {})
                return
            first = self.planned[:1]
            if first and scope["method"] == first[0][0] and scope["path"].startswith(first[0][1]):
                _, _, status, headers = self.planned.pop(0)
                await _refuse(receive, send, status, headers)
                return
        await self._app(scope, receive, send)


async def _refuse(receive: Receive, send: Send, status: int, headers: dict[str, str]) -> None:
    while (await receive()).get("more_body"):
        pass
    body = json.dumps({"status": "error", "message": f"A planned {status}."}).encode()
    named = [(name.encode(), value.encode()) for name, value in headers.items()]
    start: Message = {"type": "http.response.start", "status": status, "headers": [*named, *_TYPE]}
    await send(start)
    await send({"type": "http.response.body", "body": body})


_TYPE = [(b"content-type", b"application/json")]


@contextlib.contextmanager
def served(settings: Settings) -> Iterator[tuple[str, Faults]]:
    """The application on a free port of this machine, in a thread; its address without a slash at the end."""
    app = build_app(settings)
    faults = Faults(app)
    server = uvicorn.Server(uvicorn.Config(faults, host="127.0.0.1", port=0, log_config=None, server_header=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + PATIENCE_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the server did not start")
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", faults
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)


class Reader:
    """Somebody before the page."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address

    def arrive(self) -> None:
        """Open the page and wait until it is set up."""
        self.page.visit(f"{self.address}/")
        self.until("document.querySelectorAll('#verdicts dt').length > 0")

    def see(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        return self.page.evaluate(expression)

    def until(self, expression: str) -> Any:
        """Wait until a JavaScript expression is true, and give its value."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := self.page.evaluate(expression)):
            if time.monotonic() > deadline:
                raise AssertionError(f"never true: {expression}\n{self.page.evaluate('document.body.innerText')}")
            time.sleep(0.05)
        return value

    def choose(self, *files: Path) -> None:
        """Give files to the page's field for them."""
        root = self.page.send("DOM.getDocument")["root"]["nodeId"]
        node = self.page.send("DOM.querySelector", nodeId=root, selector="#files")["nodeId"]
        self.page.send("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in files])

    def results(self, number: int) -> None:
        """Wait until so many recordings have a verdict."""
        self.until(f"document.querySelectorAll('.card .result').length >= {number}")

    def press(self, words: str, within: str = "body") -> None:
        """Press the button that says so."""
        found = self.see(
            f"(() => {{ const found = [...document.querySelector({json.dumps(within)}).querySelectorAll('button')]"
            f".find(each => each.textContent === {json.dumps(words)}); found?.click(); return Boolean(found) }})()"
        )
        assert found, f"no button says {words!r}"

    def click(self, selector: str, across: float, down: float = 0.5) -> None:
        """Press the mouse inside an element, at shares of its width and height."""
        x, y = self.see(
            f"(() => {{ const element = document.querySelector({json.dumps(selector)});"
            "element.scrollIntoView({block: 'center'}); const box = element.getBoundingClientRect();"
            f"return [box.x + {across} * box.width, box.y + {down} * box.height] }})()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.page.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def tab_to(self, selector: str, most: int = 40) -> None:
        """Press Tab until the focus is on an element."""
        for _ in range(most):
            self.page.press("Tab", "Tab")
            if self.see(f"document.activeElement.matches({json.dumps(selector)})"):
                return
        raise AssertionError(f"Tab does not lead to {selector}")

    def foreign_requests(self) -> list[str]:
        """Addresses that were asked for and are neither the server's nor in the browser itself."""
        own = (f"{self.address}/", f"blob:{self.address}/", "data:", "about:", "chrome:")
        return [address for address in self.page.requests() if not address.startswith(own)]
