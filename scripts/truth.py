#!/usr/bin/env python3
"""Holds a store against what must be true of its numbers, required beside reached.

usage: truth.py STORE [--campaign UUID-PREFIX|LABEL]

Reads the store only (Python's sqlite3; any machine will do) and checks what it finds there:
- time by events less kernel time by CUPTI's trace, of cells whose kernels take 100 us or more;
- counted tensor operations of products against 2 L K N, and counted bytes read by cells that read
  every input once, at least four times the L2 cache, against their compulsory bytes;
- energy of a launch over replicates;
and prints plain, batch, graph and traced times of cells below 20 us side by side.
Exit code 0: all that was found is within its bound; 1: something is not; 2: nothing to check.
"""
import argparse
import math
import sqlite3
import statistics
import sys

LONG_NS, SHORT_NS = 100e3, 20e3
TIMED = "('ok', 'noisy', 'throttled')"
# Operators that read every input once and from DRAM only: their counted bytes are arithmetic.
# (causal_conv1d is none: each strip of 64 rows reads the 3 before it too, 4.7 % more.)
STREAMING = ("rmsnorm",)
# The first that was counted; wgmma alone is all there is of a vendor's product on sm_90.
COUNTED_OPS = {"bf16": ("tensor_ops_bf16", "tensor_ops_bf16_wgmma"), "f16": ("tensor_ops_f16",)}
TILE = 256  # products of other sizes compute more than asked, at the edges of their tiles


class Check:
    """One kind of check: every value found, the bound, and the worst."""

    def __init__(self, what, required):
        self.what, self.required, self.found = what, required, []

    def add(self, is_within, reached, where):
        """reached: (size of the deviation, text)."""
        self.found.append((is_within, *reached, where))

    def report(self):
        if not self.found:
            print(f"{self.what}: required {self.required}; nothing stored to check")
            return None
        held = sum(f[0] for f in self.found)
        print(f"{self.what}: required {self.required}; reached by {held} of {len(self.found)}; "
              f"median {statistics.median(f[1] for f in self.found):.3g}")
        for is_within, _, text, where in sorted(self.found, key=lambda f: -f[1])[:3]:
            print(f"  {'within' if is_within else 'BEYOND'}: {text}  {where}")
        return held == len(self.found)


def runs_of(store, campaign):
    """One dictionary a timed run, its values of validity ok in it by metric."""
    runs = {}
    sql = f"""SELECT run_id, replicate, median_ns, key, subject, dtype, l2_bytes FROM run
              JOIN cell USING (cell_id) JOIN campaign c USING (campaign_id)
              JOIN device d ON d.device_id = run.device_id
              WHERE status IN {TIMED} AND (? IS NULL OR label = ? OR c.uuid LIKE ? || '%')
              ORDER BY run_id"""
    for row in store.execute(sql, (campaign,) * 3):
        runs[row["run_id"]] = dict(row)
    for row in store.execute("SELECT run_id, metric, value FROM value WHERE validity = 'ok'"):
        if row["run_id"] in runs:
            runs[row["run_id"]][row["metric"]] = row["value"]
    for row in store.execute("SELECT c.run_id, a.name, a.value FROM cell_axis a "
                             "JOIN run c USING (cell_id)"):
        if row["run_id"] in runs:
            runs[row["run_id"]].setdefault("axes", {})[row["name"]] = row["value"]
    return list(runs.values())


def medians_by_cell(runs):
    cells = {}
    for run in runs:
        cells.setdefault(run["key"], []).append(run)
    return cells


def check_gap(cells):
    check = Check("event time less traced kernel time, kernels of 100 us and more",
                  "5 us + 0.3 %")
    for key, runs in cells.items():
        traced = [r["activity_ns"] for r in runs if "activity_ns" in r]
        if not traced or statistics.median(traced) < LONG_NS:
            continue
        kernel, event = statistics.median(traced), statistics.median(r["median_ns"] for r in runs)
        gap = event - kernel
        text = f"{event / 1e3:.2f} - {kernel / 1e3:.2f} = {gap / 1e3:.2f} us"
        check.add(gap <= 5e3 + 0.003 * kernel, (gap / 1e3, text), key)
    return check


def relative(check, counted, truth, where):
    off = counted / truth - 1
    check.add(abs(off) <= 0.03, (abs(off), f"{counted:.6g} / {truth:.6g} = {1 + off:.4f}"), where)


def check_products(runs):
    check = Check("counted tensor operations over 2 L K N (linear)", "1 +- 0.03")
    for run in runs:
        counted = [run[m] for m in COUNTED_OPS.get(run["dtype"], ()) if run.get(m)]
        if run["subject"] != "linear" or not counted:  # 0: not on tensor cores
            continue
        rows, k, n = run["axes"]["B"] * run["axes"]["L"], run["axes"]["K"], run["axes"]["N"]
        if all(size % TILE == 0 for size in (rows, k, n)):
            relative(check, counted[0], 2 * rows * k * n, run["key"])
    return check


def check_bytes(runs):
    check = Check("counted bytes read over compulsory ones (streaming, 4 x L2 and more)",
                  "1 +- 0.03")
    for run in runs:
        counted, truth, l2 = (run.get(k) for k in ("dram_bytes_read", "bytes_read", "l2_bytes"))
        if run["subject"] in STREAMING and counted is not None and truth and l2 and truth >= 4 * l2:
            relative(check, counted, truth, run["key"])
    return check


def check_energy(cells):
    check = Check("energy of a launch, CV over replicates", "2 %")
    for key, runs in cells.items():
        joules = [r["energy_j_per_launch"] for r in runs if "energy_j_per_launch" in r]
        if len(joules) < 2:
            continue
        cv = statistics.stdev(joules) / statistics.mean(joules)
        text = f"{100 * cv:.2f} % of {statistics.mean(joules):.4g} J over {len(joules)} runs"
        check.add(cv <= 0.02, (100 * cv, text), key)
    return check


def median_of(runs, metric):
    found = [r[metric] for r in runs if r.get(metric) is not None]
    return statistics.median(found) if found else math.nan


def print_short(cells):
    """Batch and graph are of a launch with hot caches; plain and traced of a cold one."""
    rows = []
    for key, runs in cells.items():
        plain = median_of(runs, "median_ns")
        others = [median_of(runs, m) for m in ("graph_ns", "batch_ns", "activity_ns")]
        if plain < SHORT_NS and not all(math.isnan(x) for x in others):
            rows.append((plain, *others, key))
    if not rows:
        print("cells below 20 us: none with a graph, batch or traced time")
        return
    print("cells below 20 us, us of a launch:")
    print(f"{'plain':>8} {'graph':>8} {'batch':>8} {'traced':>8}  cell")
    for row in sorted(rows, key=lambda r: (r[0], r[4])):
        print(" ".join("       -" if math.isnan(x) else f"{x / 1e3:8.2f}" for x in row[:4]),
              "", row[4])
    gaps = [r[0] - r[3] for r in rows if not math.isnan(r[3])]
    if gaps:
        print(f"plain less traced: median {statistics.median(gaps) / 1e3:.2f} us")
    print("""\
plain:  two events around one launch, caches as the cell says. Besides the kernel there are the front
        end's work on both events, and the start and drain of the grid between them: a few us that
        do not grow with the kernel. The traced time has none of them.
traced: start to end of the kernels by CUPTI's activity records, in a process of its own.
batch:  many launches in a row over their number, inputs hot: the start of one overlaps the end of
        the one before, so it can be below the traced time; never below what the host can enqueue.
graph:  the same as one CUDA graph: without the host's share of a launch.
Of two short cells the graph or batch times tell which kernel is shorter; plain times tell what one
cold call costs.""")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--campaign")
    arguments = parser.parse_args()
    store = sqlite3.connect(f"file:{arguments.store}?mode=ro", uri=True)
    store.row_factory = sqlite3.Row
    runs = runs_of(store, arguments.campaign)
    if not runs:
        print("no timed run", file=sys.stderr)
        return 2
    cells = medians_by_cell(runs)
    outcomes = [check.report() for check in (check_gap(cells), check_products(runs),
                                             check_bytes(runs), check_energy(cells))]
    print_short(cells)
    if all(o is None for o in outcomes):
        return 2
    return 0 if all(o is not False for o in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
