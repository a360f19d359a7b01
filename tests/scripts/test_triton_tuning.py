#!/usr/bin/env python3
"""What bench/external/triton_tuning.py makes of Triton's autotuner: a stand-in here, which keeps and reads
results as Triton does (triton/runtime/autotuner.py, 3.2 to 3.7) and refuses configurations with hooks.

usage: test_triton_tuning.py SOURCE_DIR BINARY_DIR
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv[1])

AUTOTUNER = '''
import builtins, json, os

class Config:
    def __init__(self, kwargs, num_warps=4, pre_hook=None):
        self.kwargs, self.num_warps, self.pre_hook = kwargs, num_warps, pre_hook
    def facts(self):
        return (*self.kwargs.items(), self.num_warps, self.pre_hook)
    def __hash__(self):
        return hash(self.facts())
    def __eq__(self, other):
        return self.facts() == other.facts()

class Autotuner:
    def __init__(self, configs):
        self.configs, self.cache = configs, {}
    def check_disk_cache(self, key, configs, bench):
        if not key or any(c.pre_hook for c in configs):
            bench()
            return False
        path = "-".join(map(str, key))
        if os.path.exists(path):
            timings = {Config(**c): t for c, t in json.load(open(path))}
            self.cache[key] = builtins.min(timings, key=timings.get)
            self.configs_timings = timings
            return True
        bench()
        json.dump([(c.__dict__, t) for c, t in self.configs_timings.items() if not c.pre_hook], open(path, "w"))
        return False
'''

# Tunes one kernel in a process of its own; prints what was chosen, whether it has its hook, and how often
# something was timed.
TUNE = '''
import json, os, sys
sys.path.insert(0, sys.argv[1])
import triton_tuning
triton_tuning.keep_all()
triton_tuning.keep_all()
from triton.runtime.autotuner import Autotuner, Config
def clear(nargs): pass
hook = clear if sys.argv[2] == "hooks" else None
tuner = Autotuner([Config({"BLOCK": b}, pre_hook=hook) for b in (16, 32, 64)])
timed = []
def bench():
    for config in tuner.configs:
        timed.append(config)
    tuner.configs_timings = {c: [abs(c.kwargs["BLOCK"] - 32.0)] * 3 for c in tuner.configs}
    tuner.cache["k", 8] = min(tuner.configs_timings, key=tuner.configs_timings.get)
found = tuner.check_disk_cache(("k", 8), tuner.configs, bench)
best = tuner.cache["k", 8]
print(json.dumps([found, len(timed), best.kwargs["BLOCK"], best.pre_hook is hook, best in tuner.configs,
                  os.environ["TRITON_CACHE_AUTOTUNING"]]))
'''


class Tuning(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.place = pathlib.Path(self.folder.name)
        (self.place / "triton/runtime").mkdir(parents=True)
        (self.place / "triton/__init__.py").write_text("", "utf-8")
        (self.place / "triton/runtime/__init__.py").write_text("", "utf-8")
        self.write_autotuner(AUTOTUNER)

    def tearDown(self):
        self.folder.cleanup()

    def write_autotuner(self, text):
        (self.place / "triton/runtime/autotuner.py").write_text(text, "utf-8")

    def tune(self, kind, **more):
        environment = {**os.environ, "PYTHONPATH": str(self.place), "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("TRITON_CACHE_AUTOTUNING", None)
        result = subprocess.run([sys.executable, "-c", TUNE, str(SOURCE / "bench/external"), kind],
                                cwd=self.place, env={**environment, **more}, text=True,
                                capture_output=True, check=False, timeout=60)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def test_of_kernels_with_hooks_is_kept_and_has_its_hook_again(self):
        self.assertEqual(self.tune("hooks"), [False, 3, 32, True, True, "1"])
        self.assertEqual(self.tune("hooks"), [True, 0, 32, True, True, "1"])

    def test_of_others_is_triton_s_own_affair(self):
        self.assertEqual(self.tune("none"), [False, 3, 32, True, True, "1"])
        self.assertEqual(self.tune("none"), [True, 0, 32, True, True, "1"])

    def test_what_the_user_says_of_keeping_holds(self):
        self.assertEqual(self.tune("hooks", TRITON_CACHE_AUTOTUNING="0")[5], "0")

    def test_without_such_a_cache_or_without_triton_nothing_is_changed(self):
        ask = "import sys; sys.path.insert(0, sys.argv[1]); import triton_tuning; triton_tuning.keep_all()"
        self.write_autotuner("class Autotuner: pass\n")
        for path in (self.folder.name, ""):
            subprocess.run([sys.executable, "-c", ask, str(SOURCE / "bench/external")], check=True,
                           timeout=60, cwd=self.place, env={**os.environ, "PYTHONPATH": path})


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
