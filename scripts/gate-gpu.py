#!/usr/bin/env python3
"""What the nightly gate must do on a real GPU, held against what it does: nights of 203 cells of the
suite `aa` beside a baseline that is measured first.

usage: gate-gpu.py BUILD_DIR OUT_DIR STEP... [--limit SECONDS] [--pace FACTOR]
  check  what the other steps rest on, in a few cells: the plan, $SEQMARK_TEST_SLOW, the program that is
         kept with a baseline (15 s)
  base   measures the cells with 5 replicates, and keeps them with their program as baseline `main` (140 s)
  aa     a night of the same code: must end 0 or 3 (145 s)
  slow   a night in which 5 quiet cells take 3 % longer (SEQMARK_TEST_SLOW): must end 2, those five
         confirmed and nothing else (205 s)
  load   a night beside which another process begins to compute on the GPU: must end 5 or 3 (45 s)
  bytes  by itself: 25 cells with a baseline of their own, whose DRAM bytes are counted in all 5 runs; a
         night of the same code, in which no count of memory, bytes or registers may be found larger; and
         one in which 4 cells move 1 % more bytes and take so much more memory (SEQMARK_TEST_LARGER): must
         end 2, those four confirmed in both and nothing else (140 s)

Seconds are those of an H100, times --pace elsewhere. The store is OUT_DIR/gate.db, so steps may be called
one by one. A step that would not end within --limit (default 580 s of the whole) is left out, and that is
told; one that takes twice its time is interrupted. Where what the later steps rest on fails, the script
ends. Beside the store lie the page, JUnit XML and table of each night, and what was printed (summary.txt).
Exit code 0: all steps did what they must.
"""
import argparse
import json
import math
import os
import pathlib
import signal
import sqlite3
import statistics
import subprocess
import sys
import time

QUIET, SLOWER, CELLS, SHORTEST_NS, REPLICATES = 0.005, 3, 5, 200e3, 5
LEAST_CELLS = 200
# Without the cells that take longest to measure.
FILTER = ("not (op==attention and tokens>=16k) and not (op==linear and (dtype==f32 or "
          "out-features>=16k)) and not family==samba and not family==mamba")
SECONDS = {"check": 15, "base": 140, "aa": 145, "slow": 205, "load": 45, "bytes": 140}
# What waits for memory, and what reads again what the cache has lost.
BYTES_FILTER = ("dtype==bf16 and (op==rmsnorm and tokens==16k and channels>=4k or op==causal_conv1d and "
                "tokens==16k and channels>=4k or op==linear and in-features==256 or op==selective_scan "
                "and channels==4k or op==retention and heads==8 and key-dim==256 and tokens==4k or "
                "op==ssd and heads==64 and state==128 and tokens==4k or op==attention and tokens==16k "
                "and heads==16 and causal==1 or op==long_conv and seqlen==4k)")
BYTES_CELLS, LARGER, LEAST_BYTES, LIKE_MEMORY, COUNTED_APART = 20, 4, 95e6, (0.7, 1.3), 0.002
COUNTS = ("peak_bytes", "dram_bytes", "registers")
PROGRESS_SECONDS, TO_END_SECONDS, SHOWN = 15, 15, 20


class Stop(Exception):
    """What the later steps rest on is not there."""


class Nights:
    def __init__(self, build, out, limit, pace):
        self.out = out
        self.seqmark = build / "seqmark"
        if not self.seqmark.exists():
            self.seqmark = build / "bin" / "seqmark"
        self.db = out / "gate.db"
        self.is_fine = True
        self.begun, self.limit = time.monotonic(), limit
        self.pace = self.told_pace = pace

    def say(self, text):
        line = f"[{time.monotonic() - self.begun:3.0f} s] {text}"
        print(line, flush=True)
        with open(self.out / "summary.txt", "a", encoding="utf-8") as summary:
            summary.write(line + "\n")

    def most(self, step):
        return 2 * SECONDS[step] * self.told_pace

    def left(self):
        return self.limit - (time.monotonic() - self.begun)

    def must(self, what, is_so):
        self.say(f"  {'as it must' if is_so else 'NOT as it must'}: {what}")
        self.is_fine = self.is_fine and is_so
        return is_so

    def needs(self, what, is_so):
        if not self.must(what, is_so):
            raise Stop

    # --- commands ---

    def last_line(self, name):
        lines = (self.out / f"{name}.log").read_text("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    def await_end(self, process, name, seconds):
        """Prints how far it is, and interrupts it after so many seconds."""
        begun = told = time.monotonic()
        while process.poll() is None:
            time.sleep(0.1)
            now = time.monotonic()
            if now - begun > seconds:
                self.must(f"{name} ends within {seconds:.0f} s", False)
                process.send_signal(signal.SIGINT)
                break
            if now - told > PROGRESS_SECONDS:
                told = now
                self.say(f"  {name}: {self.last_line(name)[:110]}")
        try:
            process.wait(TO_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def call(self, name, words, seconds=60, beside=None, db=None, program=None, **environment):
        """The exit code of a command. Its data go to OUT_DIR/NAME.txt, its talk to NAME.log. `beside`
        is called when the command runs."""
        begun = time.monotonic()
        words = [program or self.seqmark, *words, "--db", db or self.db]
        with open(self.out / f"{name}.txt", "wb") as data, open(self.out / f"{name}.log", "wb") as talk:
            process = subprocess.Popen([str(word) for word in words], stdout=data, stderr=talk,
                                       env={**os.environ, **environment})
            try:
                if beside:
                    beside(process)
                self.await_end(process, name, min(seconds, max(self.left() - TO_END_SECONDS, 5)))
            finally:
                process.kill()
                process.wait()
        self.say(f"{name}: {time.monotonic() - begun:.0f} s; {self.last_line(name)}")
        return process.returncode

    def night(self, name, *more, replicates=REPLICATES, **how):
        files = ["--junit", self.out / f"{name}.xml", "--html", self.out / name, "-o", "json"]
        code = self.call(name, ["nightly", "--suite", "aa", "--filter", FILTER, "--replicates",
                                replicates, "--device", 0, "--baseline", "main", "--label", name,
                                *files, *more],
                         self.most(name), **how)
        if code == 1:
            self.needs("no error", False)
        return code

    def rows(self, sql, *values, db=None):
        path = db or self.db
        if not path.exists():
            return []
        connection = sqlite3.connect(f"file:{path}?mode=ro", timeout=5, uri=True)
        try:
            return connection.execute(sql, values).fetchall()
        except sqlite3.OperationalError: # not written yet
            return []
        finally:
            connection.close()

    # --- steps ---

    def check(self):
        db = self.out / "check.db"
        cell = ["run", "--op", "rmsnorm", "--provider", "cuda/portable", "--seqlen", "16k", "--batch", 1,
                "--channels", "8k", "--dtype", "bf16", "--counters", "off", "--device", 0, "--label"]
        self.call("plan", ["run", "--suite", "aa", "--filter", FILTER, "--device", 0, "--replicates", 1,
                           "--dry-run", "-o", "jsonl"])
        cells = (self.out / "plan.txt").read_text("utf-8").count('"what": "run"')
        self.needs(f"{LEAST_CELLS} cells and more are planned: {cells}", cells >= LEAST_CELLS)
        self.needs("a cell is measured", self.call("check", [*cell, "check"], db=db) == 0)
        self.needs("its program is kept",
                   self.call("keep", ["baseline", "set", "check", "check"], db=db) == 0)
        kept = sorted(self.out.glob("check.db-trees/*/bin/seqmark"))[:1]
        self.needs("the kept program measures", bool(kept) and self.call(
            "kept", [*cell, "kept"], db=db, program=kept[0]) == 0)
        self.needs("a slowed cell is measured", self.call(
            "slowed", [*cell, "slowed"], db=db, SEQMARK_TEST_SLOW="20:rmsnorm@") == 0)
        ns = dict(self.rows("SELECT label, median_ns FROM run JOIN campaign USING (campaign_id) "
                            "ORDER BY run_id", db=db))
        ratio = ns["slowed"] / ns["check"]
        self.needs(f"20 % more is {100 * (ratio - 1):+.1f} %", 1.15 < ratio < 1.3)

    def base(self):
        begun = time.monotonic()
        code = self.call("base", ["run", "--suite", "aa", "--filter", FILTER, "--replicates", REPLICATES,
                                  "--device", 0, "--label", "base"], self.most("base"))
        self.must(f"the cells are measured: {code}", code == 0)
        self.needs("there is a campaign of them", code in (0, 4, 6))
        self.pace = (time.monotonic() - begun) / SECONDS["base"]
        self.needs("the baseline is kept",
                   self.call("set", ["baseline", "set", "main", "base"]) == 0)

    def aa(self):
        code = self.night("aa", "--max-suspects", 12)
        self.must(f"exit code 0 or 3: {code}", code in (0, 3))
        compared = self.describe("aa")
        self.must(f"{LEAST_CELLS} cells and more are compared: {compared}", compared >= LEAST_CELLS)

    def quiet_cells(self):
        """Cells of different operators where there are, whose runs, those of an A/A night among them,
        spread by at most 0.5 %."""
        runs = {}
        for key, subject, ns in self.rows(
                "SELECT key, subject, median_ns FROM run JOIN cell USING (cell_id) WHERE status = 'ok' "
                "AND median_ns > ? AND campaign_id IN (SELECT max(campaign_id) FROM campaign WHERE label "
                "IN ('base', 'aa') GROUP BY label)", SHORTEST_NS):
            runs.setdefault((subject, key), []).append(math.log(ns))
        quiet = sorted((statistics.stdev(logs), subject, key) for (subject, key), logs in runs.items()
                       if len(logs) >= REPLICATES and statistics.stdev(logs) <= QUIET)
        chosen = []
        for most in range(1, CELLS + 1):
            for spread, subject, key in quiet:
                if len(chosen) < CELLS and key not in (k for _, _, k in chosen) and \
                        sum(s == subject for _, s, _ in chosen) < most:
                    chosen.append((spread, subject, key))
        for spread, _, key in chosen:
            self.say(f"  to be {SLOWER} % slower (its runs spread by {100 * spread:.2f} %): {key}")
        return [key for _, _, key in chosen]

    def slow(self):
        cells = self.quiet_cells()
        self.needs(f"{CELLS} quiet cells", len(cells) == CELLS)
        code = self.night("slow", "--max-suspects", 15, "--sentinels", 0,
                          SEQMARK_TEST_SLOW=";".join(f"{SLOWER}:{key}" for key in cells))
        self.must(f"exit code 2: {code}", code == 2)
        self.describe("slow")
        verdicts = {row["key"]: row for row in self.read("slow").get("verdicts", [])}
        found = {key for key, row in verdicts.items() if row["confirmed"] == "confirmed"}
        for key in cells:
            row = verdicts.get(key, {})
            self.must(f"confirmed: {key} ({row.get('verdict')} {percent(row.get('time'))}, again "
                      f"{percent(row.get('again'))})", key in found)
        others = found - set(cells)
        self.must(f"nothing else is ({', '.join(sorted(others)) or 'none'})", not others)

    def load_begins(self, night):
        """The load has locks of its own, and begins after the first run: the preflight is over."""
        (key,), = self.rows("SELECT key FROM run JOIN cell USING (cell_id) WHERE subject = 'linear' "
                            "AND status = 'ok' ORDER BY median_ns DESC LIMIT 1")
        while night.poll() is None and not self.rows(
                "SELECT 1 FROM run WHERE campaign_id = (SELECT max(campaign_id) FROM campaign) AND "
                "(SELECT label FROM campaign ORDER BY campaign_id DESC LIMIT 1) = 'load' LIMIT 1"):
            time.sleep(0.2)
        if night.poll() is not None:
            return
        with open(self.out / "load-by.log", "wb") as talk:
            self.load_process = subprocess.Popen(
                [str(self.seqmark), "profile", key, "--device", "0", "--sustain", "600s", "--counters",
                 "off", "--db", str(self.out / "load-by.db"), "--out", str(self.out / "load-by")],
                stdout=subprocess.DEVNULL, stderr=talk,
                env={**os.environ, "SEQMARK_LOCK_DIR": str(self.out)})

    def load(self):
        self.load_process = None
        self.needs("there is a baseline", bool(self.rows("SELECT 1 FROM baseline WHERE name = 'main'")))
        try:
            code = self.night("load", "--op", "rmsnorm", "--sentinels", 0, "--max-suspects",
                              3, replicates=2, beside=self.load_begins)
            is_running = self.load_process is not None and self.load_process.poll() is None
            self.must("the load runs from the first run to the end", is_running)
        finally:
            if self.load_process:
                self.load_process.kill()
                self.load_process.wait()
        self.must(f"exit code 5 or 3: {code}", code in (3, 5))
        self.describe("load")
        seen, = self.rows("SELECT sum(value > 0), count(*) FROM value JOIN run USING (run_id) WHERE "
                          "metric = 'gpu_processes' AND campaign_id = (SELECT max(campaign_id) FROM "
                          "campaign WHERE label = 'load')")
        self.say(f"  another process on the GPU was seen in {seen[0]} of {seen[1]} runs")

    # --- bytes ---

    def counted_cells(self):
        """(memory, middle of the bytes counted, how far the counts lie apart) of each cell of its
        baseline."""
        counts = {}
        for key, memory, number in self.rows(
                "SELECT key, peak_bytes, sum(value) FROM run JOIN cell USING (cell_id) JOIN value USING "
                "(run_id) WHERE metric IN ('dram_bytes_read', 'dram_bytes_written') AND value IS NOT "
                "NULL AND status = 'ok' AND campaign_id = (SELECT max(campaign_id) FROM campaign WHERE "
                "label = 'bytes-base') GROUP BY run_id HAVING count(*) = 2"):
            counts.setdefault(key, (memory, []))[1].append(number)
        return {key: (memory, (min(numbers) + max(numbers)) / 2, max(numbers) - min(numbers))
                for key, (memory, numbers) in counts.items() if len(numbers) == REPLICATES}

    def larger_cells(self, counted):
        """{key: percent of its memory that are 1 % of its bytes}, the smallest whose counts agree, of
        different operators where there are."""
        fit = sorted((number, key) for key, (memory, number, apart) in counted.items()
                     if number >= LEAST_BYTES and apart <= COUNTED_APART * number and
                     LIKE_MEMORY[0] <= number / memory <= LIKE_MEMORY[1])
        chosen = []
        for most in range(1, LARGER + 1):
            for number, key in fit:
                alike = sum(other.split("@")[0] == key.split("@")[0] for other in chosen)
                if len(chosen) < LARGER and key not in chosen and alike < most:
                    chosen.append(key)
        for key in chosen:
            memory, number, apart = counted[key]
            self.say(f"  to move 1 % more than {number / 1e6:.0f} MB (counts lie "
                     f"{100 * apart / number:.2f} % apart): {key}")
        return {key: counted[key][1] / counted[key][0] for key in chosen}

    def bytes_night(self, label, *more, **environment):
        """Changes of times are left alone, however large."""
        return self.call(label, ["nightly", "--suite", "aa", "--filter", BYTES_FILTER, "--replicates", 3,
                                 "--counters", "basic", "--device", 0, "--baseline", "bytes", "--label",
                                 label, "--sentinels", 0, "--min-effect", "50%", "--setup-effect", "100%",
                                 "--max-suspects", 12, "-o", "json", *more],
                         self.most("bytes"), **environment)

    def found_larger(self, label):
        """{(cell, quantity): what became of the suspicion}"""
        rows = self.rows("SELECT key, metric, confirmed, effect FROM v_verdict WHERE label = ? AND "
                         "confirmed <> '' ORDER BY key, metric", label)
        for key, metric, confirmed, effect in rows:
            self.say(f"  {confirmed}: {metric} {percent(effect)}: {key}")
        return {(key, metric): confirmed for key, metric, confirmed, _ in rows}

    def bytes(self):
        code = self.call("bytes-base", ["run", "--suite", "aa", "--filter", BYTES_FILTER, "--replicates",
                                        REPLICATES, "--counters", "basic", "--count-every-run", "on",
                                        "--device", 0, "--label", "bytes-base"], self.most("bytes"))
        counted = self.counted_cells()
        self.needs(f"the cells are counted five times: {code}, {len(counted)} cells",
                   code == 0 and len(counted) >= BYTES_CELLS)
        for key, (_, number, apart) in sorted(counted.items(), key=lambda cell: cell[1][2] / cell[1][1]):
            self.say(f"  {number / 1e6:5.0f} MB, counts {100 * apart / number:.2f} % apart: {key[:60]}")
        self.needs("the baseline is kept",
                   self.call("bytes-set", ["baseline", "set", "bytes", "bytes-base"]) == 0)
        code = self.bytes_night("bytes-aa")
        self.must(f"exit code 0 or 3: {code}", code in (0, 3))
        found = self.found_larger("bytes-aa")
        larger = [metric for (_, metric), became in found.items()
                  if metric in COUNTS and became != "dismissed"]
        self.must("of the same code no count is larger: "
                  f"{', '.join(sorted(set(larger))) or 'none'}", not larger)
        cells = self.larger_cells(counted)
        self.needs(f"{LARGER} cells whose counts agree", len(cells) == LARGER)
        code = self.bytes_night("bytes-larger", SEQMARK_TEST_LARGER=";".join(
            f"{percentage:.4f}:{key}" for key, percentage in cells.items()))
        self.must(f"exit code 2: {code}", code == 2)
        found = self.found_larger("bytes-larger")
        for key in cells:
            for metric in ("dram_bytes", "peak_bytes"):
                self.must(f"{metric} confirmed: {key}", found.get((key, metric)) == "confirmed")
        others = [key for (key, _), became in found.items() if became == "confirmed" and key not in cells]
        self.must(f"nothing else is ({', '.join(others) or 'none'})", not others)

    # --- what came of a night ---

    def read(self, name):
        text = (self.out / f"{name}.txt").read_text("utf-8")
        return json.loads(text) if text else {}

    def describe(self, name):
        night = self.read(name)
        if not night:
            return 0
        counts = ", ".join(f"{row['n']} {row['cells']}" for row in night["counts"])
        self.say(f"  {night['cells']} cells: {counts}; control moved by {percent(night['control_shift'])} "
                 f"(A/A: within {percent(night['control_hi'])})")
        suspects = [row for row in night["verdicts"] if row["confirmed"]]
        if len(suspects) > SHOWN:
            self.say(f"  {len(suspects)} suspects, the first {SHOWN}:")
        for row in suspects[:SHOWN]:
            self.say(f"  {row['verdict']} {row['confirmed']}: {row['what']}, again "
                         f"{percent(row['again'])}, {row['cause']}: {row['key']}")
        return night["compared"]


def percent(fraction):
    return "-" if fraction is None else f"{100 * fraction:+.2f} %"


def carry_out(nights, steps):
    for step in steps:
        takes = SECONDS[step] * nights.pace
        if nights.left() < takes + TO_END_SECONDS:
            nights.must(f"{step} is left out: it takes {takes:.0f} s, {nights.left():.0f} s are left", False)
            continue
        nights.say(f"{step}: some {takes:.0f} s")
        getattr(nights, step)()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("step", nargs="+", choices=list(SECONDS))
    parser.add_argument("--limit", type=float, default=580, metavar="SECONDS")
    parser.add_argument("--pace", type=float, default=1, metavar="FACTOR")
    told = parser.parse_args()
    told.out.mkdir(parents=True, exist_ok=True)
    nights = Nights(told.build.resolve(), told.out.resolve(), told.limit, told.pace)
    try:
        carry_out(nights, told.step)
    except Stop:
        nights.say("the later steps rest on that: ended")
    nights.say("all as it must" if nights.is_fine else "NOT all as it must")
    return 0 if nights.is_fine else 1


if __name__ == "__main__":
    sys.exit(main())
