#!/usr/bin/env python3
"""Opens the page of a gate in headless Chromium: nothing on the console, its table sorts and filters, and
nothing scrolls sideways. Usage: test_gate_page.py SOURCE_DIR BINARY_DIR. Exit 77: no Chromium."""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
from test_page import SKIP, click, column, find_browser, open_page, start_browser, type_filter

SOURCE, SEQMARK = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve() / "seqmark"
SLOW = "L=128,D=512"
CELLS = ["--op", "rmsnorm", "--provider", "cuda/portable", "--seqlen", "64..512*2", "--batch",
         "1..8*2", "--channels", "256,512", "--device", "0", "--replicates", "5"]


def call(folder, night, *words):
    told = Path(folder, "night.json")
    told.write_text(json.dumps(night), "utf-8")
    environment = {**os.environ, "SEQMARK_WORKER": str(SOURCE / "tests/fault/fake_night.py"),
                   "NIGHT": str(told), "SEQMARK_LOCK_DIR": folder}
    return subprocess.run([SEQMARK, *words, "--db", f"{folder}/store.db"], env=environment,
                          capture_output=True, text=True, timeout=120, check=False)


def make_page(folder):
    call(folder, {}, "run", *CELLS, "--label", "base")
    call(folder, {"times": {SLOW: 1.05}, "hash": {SLOW: "<script>x"},
                  "result": {"L=64,D=256": "<b>wrong"}}, "run", *CELLS, "--label", "night")
    result = call(folder, {}, "gate", "base", "night", "--html", f"{folder}/page")
    assert result.returncode == 6, result.stderr
    return Path(folder, "page", "index.html")


def check(page):
    sections = page.run("[...document.querySelectorAll('main > section')].map((part) => part.id)")
    assert sections == ["summary", "cells"], sections
    assert page.run("document.querySelector('#summary h2').textContent") == "Exit 6"
    assert type_filter(page, "") == "32 of 32 cells"
    assert type_filter(page, "suspect_slower unresolved") == "4 of 32 cells"
    assert all(SLOW in key for key in column(page, "cell"))
    assert all(len(name) == 8 for name in column(page, "ack")), column(page, "ack")
    assert set(column(page, "cause")) == {"not measured again: seqmark nightly does"}
    facts = page.run("[...document.querySelectorAll('#summary dl div')].map((fact) => fact.innerText)")
    assert any(fact.split() == ["unresolved", "8"] for fact in facts), facts
    assert type_filter(page, "newly_failing") == "4 of 32 cells"
    type_filter(page, "")
    click(page, "time")
    rising = [float(text) for text in column(page, "time") if text]
    assert rising == sorted(rising) and len(rising) == 28, rising
    assert not page.run("document.querySelectorAll('td b, td script').length")
    for width in (1280, 400):
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=900,
                  deviceScaleFactor=1, mobile=False)
        wide = page.run("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wide, f"the page scrolls sideways at {width}"
    complaints = page.complaints()
    assert not complaints, complaints


def main():
    program = find_browser()
    if not program:
        print("skipped: no chromium")
        return SKIP
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = make_page(folder)
        browser, port = start_browser(program, f"{folder}/profile")
        try:
            check(open_page(port, path))
        finally:
            browser.terminate()
            browser.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
