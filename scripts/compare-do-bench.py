#!/usr/bin/env python3
"""PyTorch calls timed by triton.testing.do_bench and by libseqmark_time, required beside reached.

usage: compare-do-bench.py [--library FILE] [--device N] [--rounds N] [--no-ncu]

Calls of 500 us and more, in turn by both, after a rest, and in both orders over the rounds: do_bench's median as it
is; then, with the same rests before each launch on both sides, do_bench's, ours in dirty-cold mode (its cache state; within
2 % of it) and ours in clean-cold mode (the difference is shown). Without rests a card under tensor load meets its power
limit within the 125 ms of a measurement, sooner or later, and two measurements of one call differ by up to 10 %.
Then, with Nsight Compute on PATH, which cache state is right: a kernel that only reads has no bytes to
write, so what dram__bytes_write counts of it was left in L2 by whatever ran before the timed window.
Exit code 0: all within the bounds; 1: something is not; 2: cannot run here (the reason is printed).
"""
import argparse
import csv
import ctypes
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench/external"))
import seqmark_time  # noqa: E402

REQUIRED = 0.02
READ_ONLY_ELEMENTS = 1 << 28  # f32: 1 GiB, twenty times the L2 of an H100
LAUNCHES = 5
REST_SECONDS = 0.5  # before each turn: a card under tensor load remembers the turn before in its clock
RESTS = 4  # before each launch, of what a launch takes: seqmark's default
SHARED = ("libseqmark_time.so", "build/release/libseqmark_time.so", "build/dev/libseqmark_time.so")


class Timer:
    """libseqmark_time on a stream of PyTorch's."""

    def __init__(self, path, device, stream):
        self.lib = seqmark_time.load(path)
        self.timer = ctypes.c_void_p()
        self.check(self.lib.sqt_open(str(device).encode(), ctypes.c_void_p(stream),
                                     ctypes.byref(self.timer)))

    def check(self, code):
        if code:
            raise RuntimeError(self.lib.sqt_message(self.timer).decode() or f"code {code}")

    def cool(self):
        self.check(self.lib.sqt_cool(self.timer))

    def median_us(self, call, cache):
        def launch(_, __):
            try:
                call()
                return 0
            except Exception as failure:  # a callback may not raise through C
                print(failure, file=sys.stderr)
                return 1

        # do_bench's own plan: warm for 25 ms, then 100 ms of samples however alike they are
        policy = seqmark_time.Policy(3, 0.025, 10, 1000, 0.1, 0, 2, RESTS)
        samples, result = (ctypes.c_int32 * policy.max_samples)(), seqmark_time.Result()
        self.check(self.lib.sqt_measure(self.timer, ctypes.byref(policy), cache.encode(), b"plain",
                                        1, seqmark_time.LAUNCH(launch), None, samples,
                                        ctypes.byref(result)))
        if result.n == 0:
            raise RuntimeError(f"no sample was kept: {result.drop_reason.decode()}")
        return statistics.median(samples[:result.n]) / 1e3, result.sm_mhz

    def close(self):
        self.lib.sqt_close(self.timer)


def find_library(given):
    root = pathlib.Path(__file__).resolve().parent.parent
    for path in [pathlib.Path(given)] if given else [root / name for name in SHARED]:
        if path.is_file():
            return str(path)
    return None


def calls(torch):
    """(name, call, bytes moved, operations): each of 500 us or more on an H100."""
    def normal(*shape, dtype=torch.bfloat16):
        return torch.randn(*shape, device="cuda", dtype=torch.float32).to(dtype)

    functional = torch.nn.functional
    big, other = normal(1 << 29), normal(1 << 29)
    out = torch.empty_like(big)
    a, b = normal(8192, 8192), normal(8192, 8192)
    product = torch.empty_like(a)
    query, key, value = (normal(4, 16, 8192, 128) for _ in range(3))
    rows, weight, bias = normal(1 << 16, 4096), normal(4096), normal(4096)
    size = big.numel() * 2
    yield "copy, 1 GiB", lambda: out.copy_(big), 2 * size, 0
    yield "add, 1 GiB", lambda: torch.add(big, other, out=out), 3 * size, 0
    yield ("layer_norm, 65536 x 4096", lambda: functional.layer_norm(rows, (4096,), weight, bias),
           2 * rows.numel() * 2, 0)
    yield ("matmul, 8192^3 bf16", lambda: torch.matmul(a, b, out=product), 3 * a.numel() * 2,
           2 * 8192**3)
    yield ("SDPA causal, 4 x 16 x 8192 x 128 bf16",
           lambda: functional.scaled_dot_product_attention(query, key, value, is_causal=True),
           4 * query.numel() * 2, 2 * 4 * 16 * 8192**2 * 128)


def cycles_of(torch, seconds):
    """What torch.cuda._sleep takes to hold the stream for so long."""
    trial, start, stop = 20_000_000, *(torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    torch.cuda._sleep(trial)
    stop.record()
    stop.synchronize()
    return int(trial * seconds / (1e-3 * start.elapsed_time(stop)))


def rested(torch, call, driver, seconds):
    """do_bench itself, which launches without a pause, with a rest of `seconds` on the device between a launch and the
    next clearing of the cache: one thread counts cycles. A rest of the host would end in a launch that the device waits
    for, and the events around a call that is enqueued late hold the wait."""
    clear, cycles = driver.clear_cache, cycles_of(torch, seconds)

    def rest_and_clear(cache):
        torch.cuda._sleep(cycles)
        clear(cache)

    driver.clear_cache = rest_and_clear
    try:
        return call()
    finally:
        driver.clear_cache = clear


def compare(torch, triton, timer, rounds):
    """Prints a row a call; how many were off, and how many there were."""
    off = count = 0
    print(f"{'do_bench us':>12} {'rested us':>10} {'dirty us':>10} {'ratio':>7}   {'clean us':>10} {'to dirty':>8} "
          f"{'GB/s':>6} {'TFLOP/s':>7} {'SM MHz':>6}  call (dirty-cold required within "
          f"{100 * REQUIRED:.0f} %)")
    for name, call, moved, operations in calls(torch):
        pressed, theirs, dirty, clean, clock = [], [], [], [], 0.0

        def do_bench(times=1):  # its warm-up and samples are counted by their time, which the rests are part of
            return 1e3 * triton.testing.do_bench(call, warmup=25 * times, rep=100 * times, return_mode="median")

        for i in range(rounds):
            pressed.append(do_bench())
            turns = [lambda: theirs.append(rested(torch, lambda: do_bench(1 + RESTS), triton.runtime.driver.active,
                                                  RESTS * 1e-6 * min(pressed))),
                     lambda: dirty.append(timer.median_us(call, "dirty-cold")),
                     lambda: clean.append(timer.median_us(call, "clean-cold"))]
            for turn in turns if i % 2 == 0 else reversed(turns):
                torch.cuda.synchronize()
                time.sleep(REST_SECONDS)
                turn()
        us, ours = statistics.median(theirs), statistics.median(d[0] for d in dirty)
        cold, clock = statistics.median(c[0] for c in clean), clean[-1][1]
        count += 1
        is_long = us >= 500
        is_within = abs(ours / us - 1) <= REQUIRED
        off += is_long and not is_within
        print(f"{statistics.median(pressed):12.1f} {us:10.1f} {ours:10.1f} {ours / us:7.4f}{' ' if is_within else '!'}  {cold:10.1f} "
              f"{cold / ours:8.4f} {moved / cold / 1e3:6.0f} {operations / cold / 1e6:7.1f} "
              f"{clock:6.0f}  {name}{'' if is_long else ' (shorter than 500 us: not judged)'}")
    return off, count


def read_only(torch, timer, state):
    """What Nsight Compute is put over: LAUNCHES sums, each after the cache was put into `state`."""
    data = torch.ones(READ_ONLY_ELEMENTS, device="cuda")
    dirty = torch.empty(256 << 20, dtype=torch.int8, device="cuda")
    torch.sum(data)
    torch.cuda.synchronize()
    for _ in range(LAUNCHES):
        if state == "clean-cold":
            timer.cool()
        else:
            dirty.zero_()
        torch.cuda.nvtx.range_push("readonly")
        torch.sum(data)
        torch.cuda.nvtx.range_pop()
    torch.cuda.synchronize()


def counted(state, arguments):
    """(bytes read, bytes written) of a sum, median over the launches; or the reason why not."""
    metrics = ["dram__bytes_read.sum", "dram__bytes_write.sum"]  # one pass: nothing is replayed
    command = ["ncu", "--clock-control", "none", "--cache-control", "none", "--csv", "--page", "raw",
               "--print-units", "base", "--nvtx", "--nvtx-include", "readonly/", "--metrics",
               ",".join(metrics), sys.executable, os.path.abspath(__file__), "--read-only", state,
               "--device", str(arguments.device)]
    command += ["--library", arguments.library] if arguments.library else []
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in result.stdout.splitlines() if line.startswith('"')]
    rows = [row for row in csv.DictReader(lines) if row.get("ID", "").strip()]
    if result.returncode or not rows:
        return None, (result.stderr + result.stdout).strip().splitlines()[-1]
    launches = {}  # more than one kernel a sum: add up, in order
    for i, row in enumerate(rows):
        sums = launches.setdefault(i * LAUNCHES // len(rows), [0.0, 0.0])
        for k, metric in enumerate(metrics):
            sums[k] += float(row[metric].replace(",", ""))
    return [statistics.median(s[k] for s in launches.values()) for k in (0, 1)], ""


def prove_cache(arguments):
    """True: the clean state has nothing left to write and the dirty one has. None: no ncu."""
    if not shutil.which("ncu"):
        print("which cache state is right: no ncu on PATH, not shown")
        return None
    truth, written = 4 * READ_ONLY_ELEMENTS, {}
    print(f"a sum over {truth >> 20} MiB, counted by ncu without cache control; it writes 4 bytes:")
    for state in ("clean-cold", "dirty-cold"):
        found, why = counted(state, arguments)
        if found is None:
            print(f"  {state}: {why}")
            return None
        written[state] = found[1]
        print(f"  {state}: DRAM read {found[0] / truth:.4f} of the data, written "
              f"{found[1] / 2**20:.3f} MiB = {100 * found[1] / truth:.3f} %")
    is_shown = written["clean-cold"] <= 0.001 * truth < written["dirty-cold"]
    print(f"  required: at most 0.1 % written after clean-cold, more after dirty-cold: "
          f"{'reached' if is_shown else 'NOT reached'}")
    return is_shown


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", help="libseqmark_time.so (default: that of the build tree)")
    parser.add_argument("--device", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-ncu", action="store_true")
    parser.add_argument("--read-only", choices=["clean-cold", "dirty-cold"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    library = find_library(arguments.library)
    if not library:
        print(f"no {arguments.library or SHARED[1]}: build it, or name it with --library")
        return 2
    try:
        import torch
        import triton.testing
    except ImportError as missing:
        print(f"not importable: {missing}")
        return 2
    if not torch.cuda.is_available():
        print("PyTorch sees no GPU")
        return 2
    torch.cuda.set_device(arguments.device)
    with torch.cuda.stream(torch.cuda.Stream()), torch.no_grad():
        timer = Timer(library, arguments.device, torch.cuda.current_stream().cuda_stream)
        if arguments.read_only:
            read_only(torch, timer, arguments.read_only)
            return 0
        off, count = compare(torch, triton, timer, arguments.rounds)
        timer.close()
    print(f"within {100 * REQUIRED:.0f} %: {count - off} of {count}")
    shown = None if arguments.no_ncu else prove_cache(arguments)
    return 1 if off or shown is False else 0


if __name__ == "__main__":
    sys.exit(main())
