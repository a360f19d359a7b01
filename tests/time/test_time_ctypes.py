#!/usr/bin/env python3
"""libseqmark_time.so from Python by ctypes alone, on the CPU: by the binding that adapters use. The inputs are drawn a second time here, from the description of the generator.

usage: test_time_ctypes.py SOURCE_DIR BUILD_DIR
"""
import ctypes
import math
import os
import pathlib
import re
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(sys.argv[1], "bench", "external")))
from seqmark_time import LAUNCH, Policy, Result, load  # noqa: E402

BUILD = pathlib.Path(sys.argv[2])
LIBRARY = BUILD / "libseqmark_time.so"
MASK = (1 << 64) - 1


def cached(name):
    text = (BUILD / "CMakeCache.txt").read_text()
    found = re.search(rf"^{name}:\w+=(.*)$", text, re.MULTILINE)
    return found.group(1) if found else ""


def run_under_sanitizer():
    """A library with AddressSanitizer needs its runtime first in the process: this one again, so."""
    asan = subprocess.run([cached("CMAKE_C_COMPILER"), "-print-file-name=libasan.so"], check=True,
                          capture_output=True, text=True).stdout.strip()
    environment = {**os.environ, "LD_PRELOAD": asan, "ASAN_OPTIONS": "detect_leaks=0"}
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)


# --- the generator, from core/rng.h's description ---

def f32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def mix(x):
    x = (x + 0x9e3779b97f4a7c15) & MASK
    x = ((x ^ (x >> 30)) * 0xbf58476d1ce4e5b9) & MASK
    x = ((x ^ (x >> 27)) * 0x94d049bb133111eb) & MASK
    return x ^ (x >> 31)


def bits(seed, tensor, index):
    return mix((mix(seed ^ (tensor << 40)) + index) & MASK)


def normal(mean, deviation, seed, tensor, index):
    word = bits(seed, tensor, index)
    total = sum(word >> shift & 0xffff for shift in (0, 16, 32, 48)) - 131070
    return f32(f32(mean) + f32(total * f32(f32(deviation) * f32(2.6428965e-5))))


def uniform(low, high, seed, tensor, index):
    unit = (bits(seed, tensor, index) >> 40) / (1 << 24)
    return f32(f32(low) + f32(unit * f32(f32(high) - f32(low))))


class Timer(unittest.TestCase):
    def setUp(self):
        self.sqt = load(str(LIBRARY))
        self.timer = ctypes.c_void_p()
        self.assertEqual(self.sqt.sqt_open(b"cpu", None, ctypes.byref(self.timer)), 0)
        self.policy = Policy(3, 1e-3, 10, 40, 0.05, 0.005, 0.5, 0)
        self.calls = []

    def tearDown(self):
        self.sqt.sqt_close(self.timer)

    def message(self):
        return self.sqt.sqt_message(self.timer).decode()

    def measure(self, cache="hot", mode="plain", copies=1, seconds=1e-4, fails_at=0):
        """(code, samples, result) of a launch that sleeps."""
        def launch(_, copy):
            self.calls.append(copy)
            time.sleep(seconds)
            return 7 if len(self.calls) == fails_at else 0
        samples, result = (ctypes.c_int32 * self.policy.max_samples)(), Result()
        code = self.sqt.sqt_measure(self.timer, ctypes.byref(self.policy), cache.encode(),
                                    mode.encode(), copies, LAUNCH(launch), None, samples,
                                    ctypes.byref(result))
        return code, list(samples)[:result.n], result

    def test_the_abi_is_the_one_that_is_tested_here(self):
        self.assertEqual(self.sqt.sqt_abi(), 2)

    def test_only_its_own_names_are_exported(self):
        text = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], check=True,
                              capture_output=True, text=True).stdout
        names = {line.split()[-1] for line in text.splitlines()}
        self.assertLessEqual({"sqt_abi", "sqt_open", "sqt_measure", "sqt_fill"}, names)
        self.assertEqual({name for name in names if not name.startswith("sqt_")}, set())

    def test_the_inputs_are_those_of_the_generator(self):
        count, seed, tensor = 1000, 123456789012345678, 3
        data = (ctypes.c_float * count)()
        for text, draw in (("normal(0.25,2)", lambda i: normal(0.25, 2, seed, tensor, i)),
                           ("uniform(-1,3)", lambda i: uniform(-1, 3, seed, tensor, i)),
                           ("constant(0.5)", lambda i: 0.5),
                           ("ramp(1,0.25,16)", lambda i: 1 + 0.25 * (i % 16))):
            code = self.sqt.sqt_fill(self.timer, data, b"f32", count, text.encode(), seed, tensor)
            self.assertEqual(code, 0, self.message())
            self.assertEqual(list(data), [draw(i) for i in range(count)], text)

    def test_sixteen_bit_inputs_are_the_rounded_ones(self):
        data = (ctypes.c_uint16 * 100)()
        self.assertEqual(self.sqt.sqt_fill(self.timer, data, b"f16", 100, b"normal(0,1)", 5, 1), 0)
        want = [struct.unpack("H", struct.pack("e", normal(0, 1, 5, 1, i)))[0] for i in range(100)]
        self.assertEqual(list(data), want)

    def test_samples_come_as_they_were_taken(self):
        for cache, mode, copies in (("clean-cold", "plain", 1), ("hot", "plain", 1),
                                    ("rotate", "plain", 3), ("hot", "batch", 1)):
            self.calls.clear()
            code, samples, result = self.measure(cache, mode, copies)
            self.assertEqual(code, 0, self.message())
            self.assertIn(len(samples), range(10, 41))
            self.assertGreaterEqual(min(samples), 100000)
            self.assertEqual(set(self.calls), set(range(copies)))
            self.assertTrue(math.isnan(result.sm_mhz))
            self.assertEqual((result.n_dropped, result.drop_reason), (0, b""))

    def test_copies_take_turns(self):
        self.measure("rotate", "plain", 4)
        self.assertEqual(self.calls, [i % 4 for i in range(len(self.calls))])

    def test_a_name_nearly_right_is_told(self):
        code, _, _ = self.measure("clean-clod")
        self.assertEqual(code, 1)
        self.assertIn('did you mean "clean-cold"?', self.message())
        code, _, _ = self.measure("hot", "plian")
        self.assertEqual(code, 1)
        self.assertIn('did you mean "plain"?', self.message())
        self.assertEqual(self.calls, [])

    def test_a_launch_that_fails_is_told(self):
        code, samples, _ = self.measure(fails_at=2)
        self.assertEqual((code, samples, len(self.calls)), (5, [], 2))
        self.assertIn("returned 7", self.message())

    def test_a_launch_too_long_has_no_samples(self):
        self.policy.max_launch_seconds = 1e-3
        code, samples, result = self.measure(seconds=5e-3)
        self.assertEqual((code, samples, result.is_too_long), (0, [], 1))
        self.assertGreaterEqual(result.launch_seconds, 5e-3)

    def test_the_cpu_has_no_graphs(self):
        code, _, _ = self.measure("hot", "graph")
        self.assertEqual(code, 2)
        self.assertIn("no graphs", self.message())

    def test_a_device_that_is_none_leaves_no_timer(self):
        timer = ctypes.c_void_p(1)
        self.assertEqual(self.sqt.sqt_open(b"gpu0", None, ctypes.byref(timer)), 1)
        self.assertIsNone(timer.value)
        self.assertIn("gpu0", self.sqt.sqt_message(None).decode())


if __name__ == "__main__":
    if cached("SQ_SANITIZE") == "ON" and "libasan" not in os.environ.get("LD_PRELOAD", ""):
        run_under_sanitizer()
    unittest.main(argv=sys.argv[:1])
