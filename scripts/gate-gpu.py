#!/usr/bin/env python3
"""What the nightly gate must do on a real GPU, held against what it does: nights of the suite `aa` beside a
baseline that is measured first.

usage: gate-gpu.py BUILD_DIR OUT_DIR STEP...
  base   measures the suite with 5 replicates, and keeps it with its program as baseline `main`
  aa     a night of the same code: must end 0 or 3
  slow   a night in which 5 quiet cells take 3 % longer (SEQMARK_TEST_SLOW): must end 2, those five
         confirmed and nothing else
  load   a night beside which another process begins to compute on the GPU: must end 5 or 3

The store is OUT_DIR/gate.db, so steps may be called one by one; a step takes some four minutes on an
H100. Beside it lie the page, JUnit XML and table of each night. Exit code 0: all steps did what they must.
"""
import argparse
import json
import math
import os
import pathlib
import sqlite3
import statistics
import subprocess
import sys
import time

QUIET, SLOWER, CELLS, SHORTEST_NS = 0.005, 3, 5, 100e3


class Nights:
    def __init__(self, build, out):
        self.out = out
        self.seqmark = build / "seqmark"
        if not self.seqmark.exists():
            self.seqmark = build / "bin" / "seqmark"
        self.db = out / "gate.db"
        self.is_fine = True

    def words(self, *words):
        return [str(self.seqmark), *map(str, words)]

    def call(self, name, *words, **environment):
        """The exit code and last line of a command; its talk goes to OUT_DIR/NAME.log."""
        begun = time.monotonic()
        result = subprocess.run(self.words(*words, "--db", self.db), capture_output=True, text=True,
                                env={**os.environ, **environment}, check=False)
        (self.out / f"{name}.log").write_text(result.stderr, "utf-8")
        (self.out / f"{name}.txt").write_text(result.stdout, "utf-8")
        last = result.stderr.strip().splitlines()[-1] if result.stderr.strip() else ""
        print(f"{name}: {time.monotonic() - begun:.0f} s; {last}", flush=True)
        return result.returncode

    def night(self, name, **environment):
        files = ["--junit", self.out / f"{name}.xml", "--html", self.out / name]
        return self.call(name, "nightly", "--suite", "aa", "--replicates", 5, "--device", 0,
                         "--baseline", "main", "--label", name, *files, "-o", "json", **environment)

    def must(self, what, is_so):
        print(f"  {'as it must' if is_so else 'NOT as it must'}: {what}", flush=True)
        self.is_fine = self.is_fine and is_so

    def rows(self, sql, *values):
        db = sqlite3.connect(self.db)
        try:
            return db.execute(sql, values).fetchall()
        finally:
            db.close()

    # --- steps ---

    def base(self):
        code = self.call("base", "run", "--suite", "aa", "--replicates", 5, "--device", 0, "--label",
                         "base")
        self.must("the suite is measured", code == 0)
        self.must("the baseline is kept", self.call("set", "baseline", "set", "main", "base") == 0)

    def aa(self):
        self.must("exit code 0 or 3", self.night("aa") in (0, 3))
        self.describe("aa")

    def quiet_cells(self):
        """Cells of different operators where there are, with a spread over the runs of at most 0.5 %."""
        runs = {}
        for key, subject, ns in self.rows(
                "SELECT key, subject, median_ns FROM run JOIN cell USING (cell_id) JOIN campaign "
                "USING (campaign_id) WHERE label = 'base' AND median_ns > ?", SHORTEST_NS):
            runs.setdefault((subject, key), []).append(math.log(ns))
        quiet = sorted((statistics.stdev(logs), subject, key) for (subject, key), logs in runs.items()
                       if len(logs) == 5 and statistics.stdev(logs) <= QUIET)
        chosen = []
        for most in range(1, CELLS + 1):
            for _, subject, key in quiet:
                if len(chosen) < CELLS and key not in dict.fromkeys(k for _, k in chosen) and \
                        sum(s == subject for s, _ in chosen) < most:
                    chosen.append((subject, key))
        return [key for _, key in chosen]

    def slow(self):
        cells = self.quiet_cells()
        self.must(f"{CELLS} quiet cells", len(cells) == CELLS)
        code = self.night("slow", SEQMARK_TEST_SLOW=";".join(f"{SLOWER}:{key}" for key in cells))
        self.must("exit code 2", code == 2)
        found = {key for (key,) in self.rows("SELECT key FROM v_verdict WHERE label = 'slow' AND "
                                             "confirmed = 'confirmed' AND role = 'cell'")}
        for key in cells:
            self.must(f"confirmed: {key}", key in found)
        self.must(f"nothing else is ({', '.join(found - set(cells)) or 'none'})", found <= set(cells))
        self.describe("slow")

    def load(self):
        """The load has locks of its own, and begins when the preflight is over."""
        (key,), = self.rows("SELECT key FROM run JOIN cell USING (cell_id) WHERE subject = 'linear' "
                            "AND status = 'ok' ORDER BY median_ns DESC LIMIT 1")
        words = self.words("profile", key, "--sustain", "600s", "--counters", "off", "--db",
                           self.out / "load.db", "--out", self.out / "load-profile")
        shell = "sleep 25; exec " + " ".join(f"'{word}'" for word in words)
        load = subprocess.Popen(["bash", "-c", shell], stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL,
                                env={**os.environ, "SEQMARK_LOCK_DIR": str(self.out)})
        try:
            self.must("exit code 5 or 3", self.night("load") in (3, 5))
        finally:
            load.kill()
            load.wait()
        self.describe("load")

    def describe(self, name):
        text = (self.out / f"{name}.txt").read_text("utf-8")
        if not text:
            return
        night = json.loads(text)
        counts = ", ".join(f"{row['n']} {row['cells']}" for row in night["counts"])
        print(f"  {night['cells']} cells: {counts}; control moved by "
              f"{100 * (night['control_shift'] or 0):+.2f} %", flush=True)


def main():
    steps = ["base", "aa", "slow", "load"]
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("step", nargs="+", choices=steps)
    told = parser.parse_args()
    told.out.mkdir(parents=True, exist_ok=True)
    nights = Nights(told.build.resolve(), told.out.resolve())
    for step in told.step:
        getattr(nights, step)()
    return 0 if nights.is_fine else 1


if __name__ == "__main__":
    sys.exit(main())
