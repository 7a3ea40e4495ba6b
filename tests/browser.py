"""Headless Chromium, driven over chromedriver's HTTP interface, without a network."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from live_project import kill, wait_until

END, BACKSPACE = "\ue010", "\ue003"
_SHIFT = "\ue008"
"""Keys, as WebDriver writes them."""
_PLACE = """
const wanted = %s, named = one => [one.innerText, one.placeholder, one.title, one.ariaLabel];
const one = [...document.querySelectorAll('body *')].filter(
  one => named(one).some(name => name?.trim() === wanted) && one.checkVisibility({visibilityProperty: true})).at(-1);
if (!one) return null;
one.scrollIntoViewIfNeeded();
const {left, top, width, height} = one.getBoundingClientRect(), [x, y] = [left + width / 2, top + height / 2];
const hit = document.elementFromPoint(x, y);
const free = one.contains(hit) || hit?.contains(one), usable = !one.closest("[disabled], [aria-disabled=true]");
return free && usable ? [x, y] : null;
"""
"""Where the middle of the innermost element with a text, placeholder, title or label is; null: nowhere, covered, greyed."""


class Browser:
    """A session of Chromium."""

    def __init__(self, driver: str, screenshots: Path) -> None:
        self.driver, self.screenshots = driver, screenshots
        arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1800"]
        no_network = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": [*arguments, no_network]},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"/session/{session['sessionId']}"

    def open(self, address: str) -> None:
        """Go to an address; what was logged before is forgotten."""
        self.read_console()
        self.read_requests()
        self._call("POST", f"{self.session}/url", {"url": address})

    def run(self, script: str) -> Any:
        """What a script returns in the page."""
        return self._call("POST", f"{self.session}/execute/sync", {"script": script, "args": []})

    def read_text(self) -> str:
        """The text that the page shows."""
        return self.run("return document.body.innerText")

    def read_address(self) -> str:
        """Where the page is."""
        return self.run("return location.origin + location.pathname")

    def wait_for(self, *texts: str, seconds: float = 60) -> None:
        """Wait until the page shows all of these texts."""
        try:
            wait_until(lambda: all(text in self.read_text() for text in texts), seconds, f"the page shows {texts}")
        except AssertionError as error:
            raise AssertionError(f"{error}, but:\n{self.read_text()}") from None

    def press(self, text: str) -> None:
        """Click on the innermost element that has this text."""
        script = """const all = [...document.querySelectorAll('*')].filter(e => e.innerText?.trim() === %s);
                    all.at(-1).click(); return all.length;"""
        assert self.run(script % json.dumps(text))

    def click(self, text: str, *, shift: bool = False, seconds: float = 30) -> None:
        """Click with the mouse on the innermost element that has this text, once it is there, still and uncovered."""
        x, y = self.wait_for_place(text, seconds)
        wait = {"type": "pause"}
        moves = [{"type": "pointerMove", "x": round(x), "y": round(y)}, {"type": "pointerDown"}, {"type": "pointerUp"}]
        mouse = {"type": "pointer", "id": "mouse", "actions": [wait, *({**move, "button": 0} for move in moves), wait]}
        held = [{"type": kind, "value": _SHIFT} if shift else wait for kind in ("keyDown", "keyUp")]
        keyboard = {"type": "key", "id": "keyboard", "actions": [held[0], wait, wait, wait, held[1]]}
        self._call("POST", f"{self.session}/actions", {"actions": [mouse, keyboard]})

    def type(self, text: str) -> None:
        """Press these keys, one after another; END and BACKSPACE are among them."""
        presses = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        keyboard = {"type": "key", "id": "keyboard", "actions": presses}
        self._call("POST", f"{self.session}/actions", {"actions": [keyboard]})

    def wait_for_place(self, text: str, seconds: float = 30) -> tuple[float, float]:
        """Wait until the innermost element with this text can be clicked; returns where."""

        def find() -> Any:
            place = self.run(_PLACE % json.dumps(text))
            time.sleep(0.2)
            return place if place == self.run(_PLACE % json.dumps(text)) else None

        try:
            return wait_until(find, seconds, f"{text!r} can be clicked")
        except AssertionError as error:
            raise AssertionError(f"{error}, but:\n{self.read_text()}") from None

    def scroll_to(self, text: str) -> None:
        """Have the innermost element with this text at the top."""
        script = "[...document.querySelectorAll('*')].filter(e => e.innerText?.trim() === %s).at(-1).scrollIntoView()"
        self.run(script % json.dumps(text))

    def show_as(self, width: int, scheme: str, height: int = 1800) -> None:
        """What follows is seen in a window of this size in CSS pixels, `light` or `dark`."""
        self._send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._send("Emulation.setDeviceMetricsOverride", **size)

    def picture_whole(self, name: str, most_pixels: int = 30_000) -> Path:
        """A screenshot of the page from top to bottom, or of as much of it."""
        width, height = self.run("const all = document.documentElement; return [all.clientWidth, all.scrollHeight]")
        return self._picture_part(name, (0, 0, width, min(height, most_pixels)))

    def picture_around(self, name: str, selector: str, margin: int = 24) -> Path:
        """A screenshot of the elements that a CSS selector means, and of what lies between them."""
        script = """const boxes = [...document.querySelectorAll(%s)].map(one => one.getBoundingClientRect());
                    const least = side => Math.min(...boxes.map(box => box[side]));
                    const most = side => Math.max(...boxes.map(box => box[side]));
                    return [least('left'), least('top'), most('right'), most('bottom')]"""
        left, top, right, bottom = self.run(script % json.dumps(selector))
        part = (left - margin, top - margin, right - left + 2 * margin, bottom - top + 2 * margin)
        return self._picture_part(name, part)

    def _picture_part(self, name: str, part: tuple[float, float, float, float]) -> Path:
        clip = dict(zip(("x", "y", "width", "height"), part, strict=True))
        path = self.screenshots / f"{name}.png"
        shot = self._send("Page.captureScreenshot", captureBeyondViewport=True, clip={**clip, "scale": 1})
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def list_overflowing(self) -> list[str]:
        """Elements that are wider than their place: the page itself, or a card that has to be scrolled sideways."""
        script = """return [document.documentElement, ...document.querySelectorAll('.scroll')]
                    .filter(one => one.scrollWidth > one.clientWidth).map(one => one.innerText.slice(0, 60))"""
        return self.run(script)

    def picture(self, name: str) -> Path:
        """A screenshot."""
        path = self.screenshots / f"{name}.png"
        path.write_bytes(base64.b64decode(self._call("GET", f"{self.session}/screenshot")))
        return path

    def read_console(self) -> list[str]:
        """Warnings and errors on the console, once each."""
        entries = self._call("POST", f"{self.session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in {"SEVERE", "WARNING"}]

    def read_requests(self) -> set[str]:
        """Where the page asked for something, once each: scheme and host; what it carries itself is left out."""
        entries = self._call("POST", f"{self.session}/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
        return {"/".join(url.removeprefix("blob:").split("/")[:3]) for url in asked if not url.startswith("data:")}

    def read_image_widths(self) -> list[int]:
        """The width of every picture of the page, in its own pixels; 0 for one that cannot be shown."""
        self.run("[...document.images].forEach(one => { one.loading = 'eager' })")
        wait_until(
            lambda: self.run("return [...document.images].every(one => one.complete)"), 30, "pictures are loaded"
        )
        return self.run("return [...document.images].map(one => one.naturalWidth)")

    def is_attacked(self) -> bool:
        """Whether a script from the data has run, or is there to be run."""
        script = """return Boolean(window.stolen) || [...document.scripts].some(one => one.text.includes('stolen'))
                    || Boolean(document.querySelector('[onerror], a[href^="javascript"]'))"""
        return self.run(script)

    def close(self) -> None:
        """End the session."""
        self._call("DELETE", self.session)

    def _send(self, command: str, **parameters: Any) -> Any:
        """A command of Chromium's own protocol."""
        return self._call("POST", f"{self.session}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.driver + path, data, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.loads(response.read())["value"]


@contextmanager
def start_browser(folder: Path) -> Iterator[Browser]:
    """A browser for the tests of a module; its log and screenshots are in `folder`."""
    if not (shutil.which("chromedriver") and shutil.which("chromium")):
        pytest.skip("needs the Debian packages chromium and chromium-driver")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "chromedriver.log").open("w") as log:
        process = subprocess.Popen(
            ["chromedriver", f"--port={port}"], stdout=log, stderr=log, text=True, start_new_session=True
        )
        try:
            wait_until(lambda: _listens(port), 30, "chromedriver listens")
            browser = Browser(f"http://127.0.0.1:{port}", folder)
            yield browser
            browser.close()
        finally:
            kill(process)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
