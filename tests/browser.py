"""A real Chromium without a window, driven by its own protocol over a pair of pipes: no driver, no port.

https://chromedevtools.github.io/devtools-protocol/ with --remote-debugging-pipe: JSON, ended by a zero byte.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 60.0


def missing() -> str | None:
    """Say what is missing for these tests, None if nothing is."""
    if any(map(shutil.which, PROGRAMS)):
        return None
    return "Chromium is not here (Debian: apt-get install chromium)"


class Tab:
    """One page, and everything that was asked for and complained of in it."""

    def __init__(self, to: int, back: int) -> None:
        self._to = to
        self._back = back
        self._rest = b""
        self._numbers = itertools.count(1)
        self._session = ""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> Any:
        """Give a command and its result; what happens meanwhile is kept."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            told = self._read()
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]
            self._happened(told)

    def _read(self) -> Any:
        while b"\0" not in self._rest:
            piece = os.read(self._back, 1 << 20)
            assert piece, "the browser has ended"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _happened(self, told: Any) -> None:
        match told.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(told["params"]["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(told["params"]["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(told["params"]["exceptionDetails"]))

    def open(self, url: str) -> None:
        """Go to a page, and wait until it is there."""
        self.ask("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && document.getElementById('live') !== null")

    def say(self, expression: str) -> Any:
        """Give the value of some JavaScript."""
        result = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until some JavaScript is true."""
        end = time.monotonic() + SECONDS
        while not self.say(f"Boolean({expression})"):
            assert time.monotonic() < end, f"never true: {expression}\n{self.text()}"
            time.sleep(0.05)

    def text(self) -> str:
        """Give what a person reads."""
        return str(self.say("document.body === null ? '' : document.body.innerText"))

    def click(self, selector: str) -> None:
        """Click in the middle of an element, as a mouse does."""
        found = self.say(
            f"(box => [box.x + box.width / 2, box.y + box.height / 2])"
            f"(document.querySelector({selector!r}).getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.ask(
                "Input.dispatchMouseEvent", type=kind, x=found[0], y=found[1], button="left", clickCount=1
            )

    def screen(self, width: int, height: int, *, dark: bool = False) -> None:
        """Be so large, and prefer dark or light."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path) -> None:
        """Take a picture of the whole page."""
        taken = self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))


@contextmanager
def opened(home: Path) -> Iterator[Tab]:
    """Start a browser with a profile of its own, and end it."""
    program = next(filter(None, map(shutil.which, PROGRAMS)))
    to_read, to_write = os.pipe()
    back_read, back_write = os.pipe()

    def pipes() -> None:  # the browser reads from 3 and writes to 4
        ours = os.dup(to_read), os.dup(back_write)  # lest one be overwritten by the other
        os.dup2(ours[0], 3)
        os.dup2(ours[1], 4)

    process = subprocess.Popen(
        [
            *(program, "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={home}"),
            *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        close_fds=False,
        preexec_fn=pipes,
    )
    os.close(to_read)
    os.close(back_write)
    try:
        yield Tab(to_write, back_read)
    finally:
        process.kill()
        process.wait()
        os.close(to_write)
        os.close(back_read)
