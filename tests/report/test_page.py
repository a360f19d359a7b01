#!/usr/bin/env python3
"""Opens the report, a profile and the history of a fixed store in headless Chromium: nothing on the console,
tables sort and filter. Usage: test_page.py SOURCE_DIR BINARY_DIR. Exit 77: no Chromium, or no fixture."""

import base64
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

SKIP = 77


class Page:
    """One tab over the DevTools protocol: a WebSocket with text frames, as small as it can be."""

    def __init__(self, url):
        host, port, path = re.match(r"ws://([^:/]+):(\d+)(/.*)", url).groups()
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.buffer = b""
        self.events = []
        self.count = 0
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode())
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self.socket.recv(4096)
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        magic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1((key + magic).encode()).digest())
        assert accept in head, head

    def take(self, size):
        while len(self.buffer) < size:
            part = self.socket.recv(65536)
            if not part:
                raise ConnectionError("chromium closed the connection")
            self.buffer += part
        result, self.buffer = self.buffer[:size], self.buffer[size:]
        return result

    def receive(self):
        message = b""
        while True:
            first, second = self.take(2)
            size = second & 127
            if size > 125:
                size = int.from_bytes(self.take(2 if size == 126 else 8), "big")
            message += self.take(size)
            if first & 0x80:
                return json.loads(message)

    def call(self, method, **parameters):
        self.count += 1
        text = json.dumps({"id": self.count, "method": method, "params": parameters}).encode()
        size = len(text)
        head = bytes([0x81, 0x80 | size]) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
        self.socket.sendall(head + b"\0\0\0\0" + text)  # a zero mask leaves the text as it is
        while True:
            answer = self.receive()
            if answer.get("id") == self.count:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def run(self, script):
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, path):
        self.call("Page.enable")
        self.call("Runtime.enable")
        self.call("Log.enable")
        self.call("Network.enable")
        self.call("Page.navigate", url=path.as_uri())
        wait_for(lambda: self.run("document.readyState") == "complete" and
                 self.run("location.protocol") == "file:", "the page to load")

    def complaints(self):
        """Console output, exceptions, log entries and requests that leave the page."""
        found = []
        for event in self.events:
            method, parameters = event.get("method"), event.get("params", {})
            if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                found.append(event)
            if method == "Network.requestWillBeSent":
                if not parameters["request"]["url"].startswith(("file:", "data:")):
                    found.append(event)
        return found


def wait_for(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise TimeoutError(f"waited {seconds} s for {what}")


def start_browser(program, profile):
    """Starts Chromium; returns the process and its debugging port."""
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
               "--no-first-run", "--disable-background-networking", f"--user-data-dir={profile}",
               "about:blank"]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    port_file = Path(profile, "DevToolsActivePort")
    wait_for(lambda: port_file.exists() and "\n" in port_file.read_text(), "chromium's port", 60)
    return browser, int(port_file.read_text().split("\n")[0])


def open_page(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
        tabs = json.load(answer)
    page = Page(next(tab for tab in tabs if tab["type"] == "page")["webSocketDebuggerUrl"])
    page.open(path)
    return page


def column(page, name):
    """Texts of a column of the cells table, hidden rows left out; name as in its header."""
    return page.run(f"""(() => {{
        const table = document.getElementById("cells-table");
        const at = [...table.tHead.rows[0].cells].findIndex(
            (cell) => cell.querySelector("button").firstChild.data === {json.dumps(name)});
        return [...table.tBodies[0].rows].filter((row) => row.offsetParent !== null)
            .map((row) => row.cells[at].textContent);
    }})()""")


def click(page, name):
    page.run(f"""[...document.querySelectorAll("#cells-table thead button")]
        .find((button) => button.firstChild.data === {json.dumps(name)}).click()""")


def type_filter(page, text):
    page.run(f"""(() => {{
        const input = document.getElementById("cells-filter");
        input.value = {json.dumps(text)};
        input.dispatchEvent(new Event("input"));
    }})()""")
    return page.run("document.getElementById('cells-count').textContent")


def check_sorting(page):
    for name in ("time", "L", "floor"):
        click(page, name)
        rising = [float(text) for text in column(page, name) if text]
        assert rising == sorted(rising), f"{name} does not rise: {rising[:20]}"
        click(page, name)
        texts = column(page, name)
        falling = [float(text) for text in texts if text]
        assert falling == sorted(falling, reverse=True), f"{name} does not fall"
        assert texts[:len(falling)] == [text for text in texts if text], "empty cells are not last"
    assert len(set(column(page, "L"))) == 10  # nine lengths and the mismatch at 7
    click(page, "subject")
    texts = column(page, "subject")
    assert texts[0] == "attention" and texts[-1] == "transformer", texts
    states = page.run("""[...document.querySelectorAll("#cells-table th[aria-sort]")]
        .map((header) => header.getAttribute("aria-sort")).filter((state) => state !== "none")""")
    assert states == ["ascending"], states


def check_filter(page, total):
    assert type_filter(page, "") == f"{total} of {total} cells"
    shown = type_filter(page, "  SSD naive L=8192 ")
    assert shown == f"1 of {total} cells", shown
    assert column(page, "subject") == ["ssd"] and column(page, "L") == ["8192"]
    assert type_filter(page, "no such cell") == f"0 of {total} cells"
    assert column(page, "subject") == []
    assert type_filter(page, "mismatch") == f"1 of {total} cells"
    assert type_filter(page, "") == f"{total} of {total} cells"
    assert len(column(page, "subject")) == total


def check_order(page):
    ids = page.run("[...document.querySelectorAll('main > section')].map((part) => part.id)")
    assert ids == ["environment", "failures", "figures", "counters", "cells"], ids


def check_pictures(page):
    broken = page.run("[...document.images].filter((i) => !(i.complete && i.naturalWidth)).length")
    count = page.run("document.images.length")
    assert broken == 0, f"{broken} of {count} pictures do not show"
    assert count == (14 if shutil.which("gnuplot") else 0), count
    assert page.run("[...document.images].every((image) => image.alt.length > 5)")


def check_full(page):
    total = page.run("document.querySelectorAll('#cells-table tbody tr').length")
    assert total == 9 * 6 + 9 * 5 + 9 * 6 + 3 + 1, total
    check_order(page)
    check_pictures(page)
    check_sorting(page)
    check_filter(page, total)
    counters = page.run("document.querySelectorAll('#counters-table tbody tr').length")
    assert counters == 9 * 6 + 9 * 6 - 1, counters
    wide = page.run("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    assert not wide, "the page itself scrolls sideways"


def check_profile(page, is_full):
    sections = page.run("[...document.querySelectorAll('main section')].map((part) => part.id)")
    over_time = ["sustain", "timeline"] if is_full else []
    assert sections == ["verdict", "kernels", "ceilings", "roofline", "instructions", "stalls",
                        *over_time, "facts", "values"], sections
    pictures = 3 if is_full and shutil.which("gnuplot") else 0
    assert page.run("document.images.length") == pictures
    assert page.run("[...document.images].every((i) => i.complete && i.naturalWidth)")
    for width in (1280, 400):
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=900,
                  deviceScaleFactor=1, mobile=False)
        wide = page.run("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wide, f"the profile scrolls sideways at {width}"
    if is_full:
        count = page.run("document.getElementById('values-count').textContent")
        assert re.fullmatch(r"(\d+) of \1 values", count), count


def count_of(page, selector):
    return page.run(f"document.querySelectorAll({json.dumps(selector)}).length")


def fits(page):
    for width in (1280, 400):
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=900,
                  deviceScaleFactor=1, mobile=False)
        wide = page.run("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wide, f"the page scrolls sideways at {width}"


def check_history_of_many(page):
    """30 cells over 40 nights: a third slower in the middle, a fifth faster, a driver for all."""
    sections = page.run("[...document.querySelectorAll('main > section')].map((part) => part.id)")
    assert sections == ["summary", "cells", "campaigns", "reading"], sections
    assert count_of(page, "#cells-table tbody tr") == 30
    assert count_of(page, "svg.spark") == 30 and count_of(page, "svg.history") == 0
    assert count_of(page, "svg path.break") == 30
    assert count_of(page, "svg path.change.slower") == 10
    assert count_of(page, "svg path.change.faster") == 6
    drawn = page.run("[...document.querySelectorAll('svg.spark')].every((s) => "
                     "s.querySelector('.nights').getTotalLength() > 1000 && s.clientHeight === 36)")
    assert drawn, "a picture is empty"
    click(page, "last change")
    rising = [float(text) for text in column(page, "last change") if text]
    assert rising == sorted(rising) and len(rising) == 14, rising
    assert type_filter(page, "stands") == "14 of 30 cells"
    assert type_filter(page, "ssd fwd/f16 L=256") == "1 of 30 cells"
    assert abs(float(column(page, "last change")[0]) - 7) < 0.1, column(page, "last change")
    assert column(page, "commits") == ["c19..c20"]
    assert type_filter(page, "") == "30 of 30 cells"
    text = page.run("document.getElementById('campaigns').textContent")
    assert text.count("the clock was set back before it") == 1
    fits(page)


def check_history_of_few(page):
    sections = page.run("[...document.querySelectorAll('main > section')].map((part) => part.id)")
    assert sections == ["summary", "cells", "nights", "campaigns", "reading"], sections
    assert count_of(page, "svg.history") == 2
    assert count_of(page, "svg.history circle.night") == 80
    assert count_of(page, "#nights0-table tbody tr") == 40
    words = page.run("document.getElementById('nights').textContent")
    assert words.count("driver: 580.65 and 590.10") == 2, words.count("driver")
    inside = page.run("""[...document.querySelectorAll("svg.history :not(title)")].every((part) => {
        const box = part.getBoundingClientRect(), whole = part.closest("svg").getBoundingClientRect();
        return box.left >= whole.left - 1 && box.right <= whole.right + 1 &&
            box.top >= whole.top - 1 && box.bottom <= whole.bottom + 1; })""")
    assert inside, "something is drawn outside of its picture"
    fits(page)


def find_browser():
    """The first that answers; Ubuntu's chromium-browser is a script that asks for the snap."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path and subprocess.run([path, "--version"], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, timeout=60).returncode == 0:
            return path
    return None


def main():
    fixture = Path(sys.argv[2], "tests", "test_render")
    profile = Path(sys.argv[2], "tests", "test_profile")
    history = Path(sys.argv[2], "tests", "test_history_page")
    program = find_browser()
    if not program or not fixture.exists():
        print("skipped:", "no chromium" if not program else f"{fixture} is not built")
        return SKIP
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for name, option in (("full", []), ("empty", ["--empty"])):
            subprocess.run([fixture, "--render", f"{folder}/{name}", *option], check=True)
            subprocess.run([profile, "--render", f"{folder}/profile-{name}", *option], check=True,
                           stdout=subprocess.DEVNULL)
        for name, option in (("many", ["--many"]), ("few", [])):
            subprocess.run([history, "--render", f"{folder}/history-{name}", *option], check=True,
                           stderr=subprocess.DEVNULL)
        browser, port = start_browser(program, f"{folder}/profile")
        try:
            for name in ("full", "empty"):
                page = open_page(port, Path(folder, name, "index.html"))
                if name == "full":
                    check_full(page)
                else:
                    check_order(page)
                    assert page.run("document.images.length") == 0
                assert not page.complaints(), page.complaints()
                (path,) = Path(folder, f"profile-{name}").glob("*.html")
                page = open_page(port, path)
                check_profile(page, name == "full")
                assert not page.complaints(), page.complaints()
            for name, check in (("many", check_history_of_many), ("few", check_history_of_few)):
                page = open_page(port, Path(folder, f"history-{name}", "history.html"))
                check(page)
                assert not page.complaints(), page.complaints()
        finally:
            browser.terminate()
            browser.wait(30)
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
