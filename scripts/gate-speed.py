#!/usr/bin/env python3
"""How long the gate and the history take over large stores, and how much memory: stores are made up
first, from one real campaign of two cells on the CPU, so that they are of this program's schema.

usage: gate-speed.py BUILD_DIR OUT_DIR [--gate-cells 10000] [--cells 1000] [--nights 365]
                     [--replicates 5] [--keep]
  gate.db     two campaigns of --gate-cells cells: `seqmark gate base night`
  history.db  --nights campaigns of --cells cells: `seqmark history --html`

Runs spread by 0.5 % and cells by 0.5 % from night to night. Runs have as many samples as those
of a night on a GPU (24 on average), in gate.db also as many values (30, the first of a cell 95), which
the history does not read. One cell in a hundred is 5 % slower tonight, or since the night
after half of them, and must be found. Stores that are there are not made again, and removed at the end
unless --keep (those of the default sizes take 0.8 GB). Seconds and memory are those of this
machine; where a table says "required", they are of the default sizes and one core.
Exit code 0: the commands ran and found what there was.
"""
import argparse
import csv
import io
import json
import math
import multiprocessing
import os
import pathlib
import random
import sqlite3
import subprocess
import sys
import time

TINY = ["run", "--op", "rmsnorm", "--dtype", "f32", "--seqlen", "8,16", "--channels", "8", "--device",
        "cpu", "--max-samples", "10", "--warmup-time", "1ms", "--max-interval", "1e9", "--label", "real"]
DAY, SPREAD, STEP, SLOWED = 86400, 0.005, 1.05, 100 # one cell in so many
# Of the default sizes: seconds, megabytes.
REQUIRED = {"gate": (5, math.inf), "history": (20, 2048)}
# Of a run, and of the first of a cell beside them.
VALUES, FIRST_VALUES, SAMPLES = 30, 65, 24
COLUMNS = ("run_id", "uuid", "campaign_id", "cell_id", "env_id", "device_id", "replicate", "attempt",
           "status", "reason", "started", "harness_version", "kernel_hash", "n", "median_ns", "lo_ns",
           "hi_ns", "min_ns", "mad_ns", "cycles", "sm_mhz", "setup_ns", "peak_bytes", "versions",
           "checksum", "samples")


class Store:
    """The real campaign, multiplied."""

    def __init__(self, seqmark, path, cells, is_whole):
        self.path, self.cells, self.is_whole = path, cells, is_whole
        self.random = random.Random(1)
        result = subprocess.run([seqmark, *TINY, "--db", path], capture_output=True, text=True, check=False)
        if result.returncode:
            sys.exit(f"{path}: {result.stderr}")
        self.db = sqlite3.connect(path)
        self.db.executescript("PRAGMA synchronous = OFF; PRAGMA foreign_keys = ON;")
        self.next_run = self.db.execute("SELECT max(run_id) FROM run").fetchone()[0] + 1
        self.base = [self.random.uniform(math.log(2e4), math.log(2e6)) for _ in range(cells)]
        self.add_cells()

    def add_cells(self):
        """Of the real one at other batches. The real campaign goes, its environment stays."""
        (cell,) = self.db.execute("SELECT cell_id FROM cell ORDER BY cell_id LIMIT 1").fetchone()
        self.db.executescript(
            "CREATE TEMP TABLE template AS SELECT * FROM run ORDER BY run_id LIMIT 1;"
            "CREATE TEMP TABLE campaign_template AS SELECT * FROM campaign;")
        for i in range(self.cells):
            self.db.execute(
                "INSERT INTO cell SELECT ?1, replace(key, '/B=1,', '/B=' || ?2 || ','), "
                "printf('%016x', ?1), kind, subject, provider, pass, dtype, cache, launch, clock_mode "
                "FROM cell WHERE cell_id = ?3", (100 + i, 2 + i, cell))
        self.db.execute("INSERT INTO cell_axis SELECT c.cell_id, a.name, CASE a.name WHEN 'B' THEN "
                        "c.cell_id - 98 ELSE a.value END, a.text FROM cell c, cell_axis a "
                        "WHERE c.cell_id >= 100 AND a.cell_id = ?", (cell,))
        self.db.executescript("DELETE FROM run; DELETE FROM ceiling; DELETE FROM campaign;"
                              "PRAGMA foreign_keys = OFF;")

    def add_campaign(self, number, label, age):
        columns = [row[1] for row in self.db.execute("PRAGMA table_info(campaign)")]
        told = {"campaign_id": number, "uuid": f"'{number:032x}'", "label": f"'{label}'", "suite": "'nightly'",
                "started": f"started - {age * DAY}", "ended": f"ended - {age * DAY}",
                "turn": f"turn - {age * DAY}"}
        self.db.execute(f"INSERT INTO campaign SELECT {', '.join(str(told.get(c, c)) for c in columns)} "
                        "FROM campaign_template")

    def numbers(self, cell, is_slower, replicates):
        """Times of a night's runs of a cell."""
        level = self.base[cell] + self.random.gauss(0, SPREAD) + is_slower * math.log(STEP)
        return [math.exp(level + self.random.gauss(0, SPREAD)) for _ in range(replicates)]

    def values_of(self, replicate):
        """{metric: value}; of those that nobody reads there are only names."""
        told = {"gpu_processes": 0}
        if replicate == 0:
            told.update(bytes=4e7, matrix_flops=0, dram_bytes_read=2e7, dram_bytes_written=2e7)
        most = VALUES + (FIRST_VALUES if replicate == 0 else 0)
        told.update((f"other_{i}", i) for i in range(most - len(told)))
        return told

    def fill(self, number, replicates, slower):
        """The runs and values of a campaign; `slower`: those cells have other kernels and take longer."""
        env, device, harness, versions = self.db.execute(
            "SELECT env_id, device_id, harness_version, versions FROM template").fetchone()
        runs, values = [], []
        for cell in range(self.cells):
            is_slower = cell in slower
            for replicate, ns in enumerate(self.numbers(cell, is_slower, replicates)):
                run = self.next_run + len(runs)
                runs.append((run, f"{run:032x}", number, 100 + cell, env, device, replicate, 0, "ok", "",
                             1.7e9, harness, "b" * 16 if is_slower else "a" * 16, SAMPLES, ns, ns * 0.999,
                             ns * 1.001, ns * 0.99, ns * 0.001, ns * 1.755, 1755.0, 1e6, 1000000,
                             versions, "c" * 16, bytes(4 * SAMPLES)))
                if self.is_whole:
                    values += [(run, metric, value, 1, None, None, "", "ok")
                               for metric, value in self.values_of(replicate).items()]
        self.next_run += len(runs)
        self.db.executemany(f"INSERT INTO run({', '.join(COLUMNS)}) VALUES "
                            f"({', '.join('?' * len(COLUMNS))})", runs)
        self.db.executemany("INSERT INTO value VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def close(self):
        self.db.commit()
        self.db.close()


def make_apart(*arguments):
    """In a process of its own: what this one holds would count as the memory of what it times."""
    process = multiprocessing.Process(target=make, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(1)


def make(path, seqmark, cells, nights, replicates, is_whole):
    """Nights in which every SLOWED-th cell is slower in the second half of them."""
    begun = time.monotonic()
    store = Store(seqmark, path, cells, is_whole)
    for night in range(nights):
        store.add_campaign(1000 + night, "base" if night == 0 else f"night{night}", nights - night)
        store.fill(1000 + night, replicates, range(0, cells, SLOWED) if 2 * night >= nights else ())
    store.close()
    print(f"{path.name}: {nights} x {cells} cells x {replicates} runs, {path.stat().st_size / 1e6:.0f} MB, "
          f"made in {time.monotonic() - begun:.0f} s", flush=True)


def timed(words, out):
    """Exit code, seconds, those of a core, and peak memory in MB; the output goes to a file."""
    with open(out, "wb") as data:
        begun = time.monotonic()
        process = subprocess.Popen([str(word) for word in words], stdout=data, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def tell(what, seconds, of_core, megabytes, is_default):
    most = REQUIRED[what] if is_default else (None, None)
    required = f", required {most[0]} s" if is_default else ""
    if is_default and math.isfinite(most[1]):
        required += f" and {most[1]} MB"
    print(f"{what}: {seconds:.2f} s ({of_core:.2f} s of a core), {megabytes:.0f} MB at most{required}",
          flush=True)


def time_gate(told, out):
    path = out / "gate.db"
    if not path.exists():
        make_apart(path, told.seqmark, told.gate_cells, 2, told.replicates, True)
    code, *cost = timed([told.seqmark, "gate", "base", "night1", "--db", path, "-o", "jsonl",
                                      "--html", out / "gate"], out / "gate.txt")
    tell("gate", *cost, told.gate_cells == 10000 and told.replicates == 5)
    found = {row["key"].split("/B=")[1].split(",")[0]: row["verdict"]
             for row in map(json.loads, (line for line in (out / "gate.txt").read_text("utf-8").splitlines()
                                         if line.startswith("{")))}
    slower = [found.get(str(2 + cell)) for cell in range(0, told.gate_cells, SLOWED)]
    missed = sum(verdict != "suspect_slower" for verdict in slower)
    print(f"  exit code {code}; of {len(slower)} slower cells {missed} are no suspects", flush=True)
    return code == 3 and len(found) == told.gate_cells and missed <= len(slower) // 20


def time_history(told, out):
    path = out / "history.db"
    if not path.exists():
        make_apart(path, told.seqmark, told.cells, told.nights, told.replicates, False)
    code, *cost = timed([told.seqmark, "history", "--db", path, "--html", out / "history", "-o",
                                      "csv"], out / "history.txt")
    tell("history", *cost, (told.cells, told.nights, told.replicates) == (1000, 365, 5))
    rows = [row for row in csv.DictReader(io.StringIO((out / "history.txt").read_text("utf-8")))
            if row.get("key")]
    changed = {row["key"].split("/B=")[1].split(",")[0] for row in rows
               if float(row["last_change"] or 1) > (STEP + 1) / 2}
    slower = {str(2 + cell) for cell in range(0, told.cells, SLOWED)}
    print(f"  exit code {code}; of {len(slower)} slower cells {len(slower - changed)} have no change",
          flush=True)
    return code == 0 and (out / "history/history.html").exists() and changed == slower


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    for name, number in (("gate-cells", 10000), ("cells", 1000), ("nights", 365), ("replicates", 5)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--keep", action="store_true")
    told = parser.parse_args()
    told.out.mkdir(parents=True, exist_ok=True)
    build, out = told.build.resolve(), told.out.resolve()
    told.seqmark = build / "seqmark" if (build / "seqmark").exists() else build / "bin/seqmark"
    is_fine = [time_gate(told, out), time_history(told, out)]
    for name in ("gate.db", "history.db"):
        if not told.keep:
            (out / name).unlink()
    return 0 if all(is_fine) else 1


if __name__ == "__main__":
    sys.exit(main())
