"""Drives headless Chromium by its own protocol over a pipe: opens pages, presses real keys, evaluates, takes pictures. Needs nothing but the browser."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROME = os.environ.get("CHROME") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-pipe", "--window-size=1100,800",
)  # fmt: skip
KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowUp": 38, " ": 32}
LONGEST_S = 60.0


class Browser:
    """One page of a browser. What the page's scripts throw or the policy blocks is in `errors`."""

    def __init__(self, profile: Path) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        self.errors: list[str] = []
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 50) for end in (theirs_in, theirs_out)]

        def as_3_and_4() -> None:  # where the browser looks for the pipe; copies from far above, so that neither overwrites the other
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [str(CHROME), *FLAGS, f"--user-data-dir={profile}"], close_fds=False, preexec_fn=as_3_and_4, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for end in (theirs_in, theirs_out, *high):
            os.close(end)
        self.reading, self.writing, self.number, self.session = os.fdopen(ours_in, "rb"), os.fdopen(ours_out, "wb", buffering=0), 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for part in ("Page", "Runtime", "Log"):
            self.call(f"{part}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a command of the protocol; events that come first are looked at."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params} | ({"sessionId": self.session} if self.session else {})
        self.writing.write(json.dumps(message).encode() + b"\0")
        while True:
            got = json.loads(self._message())
            if got.get("id") == self.number:
                assert "error" not in got, got
                return got["result"]
            self._event(got)

    def _message(self) -> bytes:
        message = bytearray()
        while (byte := self.reading.read(1)) != b"\0":
            assert byte, "the browser has gone"
            message += byte
        return bytes(message)

    def _event(self, got: dict[str, Any]) -> None:
        if got.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(got["params"]["exceptionDetails"].get("exception", {}).get("description") or got["params"]))
        if got.get("method") == "Log.entryAdded" and got["params"]["entry"]["level"] == "error":
            self.errors.append(got["params"]["entry"]["text"])

    def open(self, address: str) -> None:
        """Go to `address` and wait until it is there."""
        self.call("Page.navigate", url=address)
        self.wait(f"document.readyState === 'complete' && location.href === {json.dumps(address)}")

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until the expression is true."""
        end = time.monotonic() + LONGEST_S
        while not self.evaluate(condition):
            assert time.monotonic() < end, f"never came: {condition}; the page: {self.evaluate('document.body.innerText')}"
            time.sleep(0.02)

    def type(self, text: str) -> None:
        """Put `text` where the cursor is, as the keyboard would."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, modifiers: int = 0) -> None:
        """Press and let go a key. Modifiers: 1 Alt, 2 Ctrl, 8 Shift."""
        code = KEYS.get(key, ord(key[0].upper()))
        about = {"key": key, "code": key if len(key) > 1 else f"Key{key.upper()}", "windowsVirtualKeyCode": code, "modifiers": modifiers}
        text = {"text": "\r"} if key == "Enter" else {"text": " "} if key == " " else {}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **about, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def picture(self, path: Path) -> None:
        """Save what is seen as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def look(self, *, width: int = 1100, height: int = 800, dark: bool = False) -> None:
        """Size of the window, and which theme the system prefers."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def close(self) -> None:
        """End the browser."""
        self.process.terminate()
        self.process.wait(20)
        self.reading.close()
        self.writing.close()


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own."""
    opened = Browser(profile)
    try:
        yield opened
    finally:
        opened.close()
