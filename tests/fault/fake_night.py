#!/usr/bin/env python3
"""A worker with times that vary from run to run as a GPU's do, and that can be told what has changed
since the baseline. $NIGHT names a JSON file:

  cv        spread of the runs of a cell (0.003)
  times     {TEXT: factor} of the times of cells whose key holds TEXT; "" is every cell
  setup     the same of set-up times
  peak      the same of memory
  dram      the same of bytes counted, which vary from count to count by dram_cv (0), and of which the
            launches of one count lie apart by dram_range (0)
  dram_turns factors of the first, second ... count of a cell
  counts    how many times the bytes of a cell can be counted; later counts have none
  registers {TEXT: registers a thread}
  hash      {TEXT: hash of the kernels}
  result    {TEXT: "crash", "wrong", "error" or "oom"}
  once      the result is that of the first run alone (a file beside this one remembers)
  others    processes of others on the GPU; one more where another of these workers sustains a cell
  seconds   {TEXT: what a run takes}
  uuid      of the GPU
"""
import json
import math
import os
import random
import sys
import time
import zlib

with open(os.environ["NIGHT"], encoding="utf-8") as stream:
    NIGHT = json.load(stream)
LOG = os.environ.get("FAKE_LOG", "")
PROVIDERS = {op: ["cuda/naive", "cuda/portable", *more] for op, more in {
    "attention": [], "causal_conv1d": [], "linear": ["cublas"], "long_conv": ["cufft"],
    "retention": [], "rmsnorm": [], "selective_scan": [], "ssd": []}.items()}


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def told(what, cell, default):
    for text, value in NIGHT.get(what, {}).items():
        if text in cell:
            return value
    return default


def hello():
    say({"is": "hello", "providers": PROVIDERS,
         "environment": {"fingerprint": f"fa4e{NIGHT.get('driver', '580')}", "host": "h", "driver": NIGHT.get("driver", "580"),
                         "toolkit": "13.0"},
         "device": {"backend": "cuda", "index": 0, "uuid": NIGHT.get("uuid", "GPU-fake"), "name": "Fake GPU",
                    "arch": "sm_90", "pci": "0", "sm_count": 132, "memory_bytes": 80000000000,
                    "max_sm_mhz": 1980, "max_memory_mhz": 2619, "memory_bus_bits": 5120,
                    "compute_major": 9, "compute_minor": 0}})


def value(metric, number, spread=None):
    return {"metric": metric, "value": number, "n": 1, "spread": spread, "sm_mhz": None,
            "validity": "ok"}


def noise():
    return math.exp(random.gauss(0, NIGHT.get("cv", 0.003)))


def more(cell, option):
    """$SEQMARK_TEST_SLOW or $SEQMARK_TEST_LARGER, as the worker reads it."""
    for word in os.environ.get(option, "").split(";"):
        percent, _, text = word.partition(":")
        if text and text in cell:
            return 1 + float(percent) / 100
    return 1


def others():
    """Those that were told, and a worker that sustains a cell."""
    path = os.environ["NIGHT"] + ".sustained"
    if not os.path.exists(path):
        return NIGHT.get("others", 0)
    with open(path, encoding="utf-8") as stream:
        process = stream.read()
    try:
        with open(f"/proc/{process}/cmdline", "rb") as stream:
            is_running = stream.read() != b"" # else it waits for who started it
    except OSError:
        is_running = False
    return NIGHT.get("others", 0) + is_running


def sustain(seconds):
    with open(os.environ["NIGHT"] + ".sustained", "w", encoding="utf-8") as stream:
        stream.write(str(os.getpid()))
    time.sleep(seconds)
    say({"is": "sustain", "points": [], "validity": "ok"})


def record(cell):
    base = 1e5 + zlib.crc32(cell.encode()) % 900000
    median = base * noise() * told("times", cell, 1) * more(cell, "SEQMARK_TEST_SLOW")
    samples = [round(median * (1 + 0.0001 * (i - 5))) for i in range(11)]
    say({"is": "record", "record": {
        "status": "ok", "reason": "", "samples": samples, "sm_mhz": 1755.0,
        "cycles": 1.755e-3 * median, "setup_ns": 1e6 * noise() * told("setup", cell, 1),
        "peak_bytes": int(1e6 * told("peak", cell, 1) * more(cell, "SEQMARK_TEST_LARGER")),
        "checksum": f"{zlib.crc32(cell.encode()):016x}",
        "kernel_hash": told("hash", cell, "a" * 16),
        "values": [value("gpu_processes", others())]}})


def remembered(cell, what="once"):
    """The cells that were remembered before it, which a file beside $NIGHT knows; None: the first."""
    path = f"{os.environ['NIGHT']}.{what}"
    seen = None
    if os.path.exists(path):
        with open(path, encoding="utf-8") as stream:
            seen = stream.read().splitlines()
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(cell + "\n")
    return seen


def fail(result):
    if result == "crash":
        os.kill(os.getpid(), 11)
    status = {"wrong": "mismatch"}.get(result, result)
    say({"is": "record", "record": {"status": status, "reason": f"told to: {result}",
                                    "samples": [], "peak_bytes": 4096}})


def run(cell):
    time.sleep(told("seconds", cell, 0))
    result = told("result", cell, "")
    if result and not (NIGHT.get("once") and remembered(cell) is not None):
        fail(result)
    else:
        record(cell)


def profile(cell):
    before = (remembered(cell, "counted") or []).count(cell)
    is_counted = before < NIGHT.get("counts", before + 1)
    turns = NIGHT.get("dram_turns", [1])
    dram = 5e7 * told("dram", cell, 1) * math.exp(random.gauss(0, NIGHT.get("dram_cv", 0)))
    dram *= more(cell, "SEQMARK_TEST_LARGER") * turns[before % len(turns)]
    apart = NIGHT.get("dram_range", 0)
    say({"is": "record", "record": {
        "status": "ok", "reason": "", "samples": [], "peak_bytes": 0,
        "values": [value("dram_bytes_read", dram, apart),
                   value("dram_bytes_written", dram, apart)] * is_counted,
        "kernels": [{"name": "k", "ns": 900, "grid": [1, 1, 1], "block": [32, 1, 1],
                     "registers": told("registers", cell, 32), "shared_bytes": 0}]}})


def serve(request):
    verb, cell = request["do"], request.get("cell", "")
    if LOG:
        with open(LOG, "a", encoding="utf-8") as log:
            log.write(json.dumps({"pid": os.getpid(), "night": os.environ["NIGHT"], **request}) + "\n")
    if verb == "hello":
        hello()
    elif verb == "check":
        say({"is": "check", "cell": cell, "supported": True, "reason": "", "bytes": 4096,
             "free_bytes": 8e10})
    elif verb == "run":
        say({"is": "stage", "stage": "proof"})
        run(cell)
    elif verb == "profile":
        profile(cell)
    elif verb == "sustain":
        sustain(request["seconds"])
    elif verb == "ceilings":
        say({"is": "ceilings", "ceilings": [{"name": "copy_gbytes_per_s", "unit": "GB/s",
                                             "value": 2900.0, "lo": 2890.0, "hi": 2910.0,
                                             "sm_mhz": None}]})
    elif verb == "set-ceilings":
        say({"is": "done"})
    else:
        say({"is": "error", "message": "unknown request"})


for line in sys.stdin:
    serve(json.loads(line))
