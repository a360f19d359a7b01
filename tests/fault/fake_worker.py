#!/usr/bin/env python3
"""A worker that speaks bench/wire.h and measures nothing: it does to its parent what real ones do
only on bad days. $FAKE_WORKER says what: well, crash, exit, hang, slow, garbage, wrong, noisy,
unsupported, oom, refuse, sticky (dies after its answer), impossible (times that no card reaches),
fast (above its own ceilings), brief (0.1 s a run), silent-hello, profile-crash, profile-hang,
sustain-garbage, no-timeline. $FAKE_WHEN: only for cells whose key holds this text. $FAKE_LOG: a file
that gets one line (pid and request) for every request.
"""
import json
import os
import sys
import time
import zlib

MODE = os.environ.get("FAKE_WORKER", "well")
WHEN = os.environ.get("FAKE_WHEN", "")
LOG = os.environ.get("FAKE_LOG", "")
CELL = ""  # of the request in hand
PROVIDERS = {
    "attention": ["cuda/naive", "cuda/portable"],
    "causal_conv1d": ["cuda/naive", "cuda/portable"],
    "linear": ["cuda/naive", "cuda/portable", "cublas"],
    "long_conv": ["cuda/naive", "cuda/portable", "cufft"],
    "retention": ["cuda/naive", "cuda/portable"],
    "rmsnorm": ["cuda/naive", "cuda/portable"],
    "selective_scan": ["cuda/naive", "cuda/portable"],
    "ssd": ["cuda/naive", "cuda/portable"],
}


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def hello():
    if MODE == "silent-hello":
        sys.stderr.write("no CUDA-capable device is detected\n")
        sys.exit(3)
    say({"is": "hello", "providers": PROVIDERS, "environment": {"fingerprint": "fa4e", "host": "h"},
         "device": {"backend": "cuda", "index": 0, "uuid": "GPU-fake", "name": "Fake GPU",
                    "arch": "sm_90", "pci": "0", "sm_count": 132, "memory_bytes": 80000000000,
                    "max_sm_mhz": 1980, "max_memory_mhz": 2619, "memory_bus_bits": 5120,
                    "compute_major": 9, "compute_minor": 0}})


def record(status="ok", reason="", **more):
    body = {"status": status, "reason": reason, "samples": [], "peak_bytes": 4096}
    if status in ("ok", "noisy"):
        body["samples"] = [1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009]
        body["checksum"] = f"{zlib.crc32(CELL.encode()):016x}"
    body.update(more)
    say({"is": "record", "record": body})


def check(request, is_hit):
    supported = not (MODE == "unsupported" and is_hit)
    say({"is": "check", "cell": request["cell"], "supported": supported,
         "reason": "" if supported else "needs a head dim of 64",
         "bytes": 9e12 if MODE == "oom" and is_hit else 4096, "free_bytes": 8e10})


def run(is_hit):
    say({"is": "stage", "stage": "proof"})
    if not is_hit:
        return record()
    if MODE == "crash":
        sys.stderr.write("illegal memory access\n")
        sys.stderr.flush()
        os.kill(os.getpid(), 11)
    elif MODE == "exit":
        sys.stderr.write("giving up\n")
        sys.exit(9)
    elif MODE == "hang":
        time.sleep(3600)
    elif MODE == "slow":
        for _ in range(8):
            time.sleep(0.6)
            say({"is": "stage", "stage": "samples"})
        record()
    elif MODE == "brief":
        time.sleep(0.1)
        record()
    elif MODE == "garbage":
        sys.stdout.write("Segmentation \x1b[31mfault{]\n")
        sys.stdout.flush()
    elif MODE == "refuse":
        say({"is": "error", "message": "cannot read the request"})
    elif MODE == "wrong":
        record("mismatch", "y: rel_l2 0.5 > 0.01")
    elif MODE == "noisy":
        record("noisy", "interval 20 % wide")
    elif MODE == "impossible":  # 2 GB in 1 us
        record(values=work(1e9))
    elif MODE == "fast":  # 3.3 MB read in 1.0045 us: below the bus, above the ceiling
        record(values=work(3.3e6))
    elif MODE == "sticky":
        record("error", "misaligned address")
        sys.exit(3)
    else:
        record()
    return None


def work(size):
    names = {"bytes_read": size, "bytes_written": 0.0, "flops": 1e3, "batch_ns": 900.0}
    return [{"metric": name, "value": value, "n": 1, "spread": None, "sm_mhz": None,
             "validity": "ok"} for name, value in names.items()]


def profile():
    if MODE == "profile-crash":
        os.kill(os.getpid(), 11)
    if MODE == "profile-hang":
        time.sleep(3600)
    record(values=[{"metric": "dram_bytes_read", "value": 123.0, "n": 1, "spread": None,
                    "sm_mhz": 1700.0, "validity": "ok"}],
           kernels=[{"name": "k", "ns": 900, "grid": [1, 1, 1], "block": [32, 1, 1],
                     "registers": 32, "shared_bytes": 0}])


def sustain(seconds):
    if MODE == "sustain-garbage":
        say({"is": "sustain", "points": [[0.05, 700.0], "x"]})
    else:
        say({"is": "sustain", "points": [[0.1 * i, 700.0 - i, 1980.0 - i, None, 40.0]
                                         for i in range(1, int(10 * seconds) + 1)]})


def timeline():
    if MODE == "no-timeline":
        say({"is": "timeline", "interval_ns": None, "metrics": [], "rows": [],
             "validity": "refused: no permission"})
    else:
        say({"is": "timeline", "interval_ns": 10000, "metrics": ["pm_issue_pct", "pm_l2_pct"], "dropped": 1,
             "validity": "ok", "rows": [[10000 * i, 50.0, None] for i in range(100)]})


def ceilings():
    say({"is": "ceilings", "ceilings": [{"name": "copy_gbytes_per_s", "unit": "GB/s", "value": 2900.0,
                                         "lo": 2890.0, "hi": 2910.0, "sm_mhz": None}]})


def serve(request):
    global CELL
    verb = request["do"]
    CELL = request.get("cell", "")
    is_hit = WHEN in CELL
    if LOG:
        with open(LOG, "a", encoding="utf-8") as log:
            log.write(json.dumps({"pid": os.getpid(), **request}) + "\n")
    if verb == "hello":
        hello()
    elif verb == "check":
        check(request, is_hit)
    elif verb == "run":
        run(is_hit)
    elif verb == "profile":
        profile()
    elif verb == "sustain":
        sustain(request["seconds"])
    elif verb == "timeline":
        timeline()
    elif verb == "ceilings":
        ceilings()
    elif verb == "set-ceilings":
        say({"is": "done"})
    else:
        say({"is": "error", "message": "unknown request"})


for line in sys.stdin:
    serve(json.loads(line))
