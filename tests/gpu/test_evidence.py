#!/usr/bin/env python3
"""The committed evidence of the GPU tests, and gpu-check.sh over fakes of what it runs.

usage: test_evidence.py SOURCE_DIR BINARY_DIR

That the evidence is stale is no failure: it is printed. CI has no GPU to take it again.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv[1]).resolve()
PYTHON, SHELL = "#!/usr/bin/env python3\nimport sys\n", "#!/usr/bin/env bash\n"
OPS_TEST = """
if "--large" in sys.argv:
    print("18 passed, 0 failed (0 unsupported or not applicable)")
elif "--long" in sys.argv:
    print("4 passed, 0 failed (1 unsupported or not applicable)")
elif sys.argv[1] == BAD and "fwd" not in sys.argv:
    print("FAIL ssd: wrong\\n3 passed, 2 failed (1 unsupported or not applicable)")
    sys.exit(1)
else:
    print("5 passed, 0 failed (2 unsupported or not applicable)")
"""
SEQMARK = """
if "--version" in sys.argv:
    print("seqmark 0.1.0 abc")
elif "--fuzz" in sys.argv:
    op = sys.argv[sys.argv.index("--op") + 1]
    for dtype, error, tensor in (("f32", 1e-7, "d_x"), ("bf16", 3e-3, "d_k")):
        print('{"op": "%s", "provider": "cuda/naive", "pass": "bwd", "dtype": "%s", "cells": 4, "wrong": 0, '
              '"worst_error": %g, "tolerance": 1e-2, "worst_tensor": "%s", "worst_cell": "%s cell"}'
              % (op, dtype, error, tensor, dtype))
else:
    print('{"case": "a", "verdict": "ok"}')
    for case in GAPS:
        print('{"case": "%s", "verdict": "unsupported"}' % case)
    sys.exit(6 if GAPS else 0)
"""
SANITIZER = """
tool=$2
echo "${*:2}" >>"$LOG"
case "$tool $*" in "racecheck "*" ssd "*) sleep "$SLEEP" ;; esac
echo "250 passed, 0 failed (1 unsupported or not applicable)"
if [ "$tool" = racecheck ]; then
    echo "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)"
else
    [ "$tool" = initcheck ] || TOOL_ERRORS=0
    echo "========= ERROR SUMMARY: $TOOL_ERRORS errors"
fi
"""
COSTS_TEST = """
print("a sweep of the cache writes 250.0 MB")
print("| operator | pass | provider | shape | MB read | counted / cost | MB written | counted / cost | all bytes "
      "| tensor operations | moves | |")
print("|---|---|---|---|---:|---:|---:|---:|---:|---:|---|---|")
print("| ssd | fwd | cuda/portable | B=16 | 402.7 | 1.012 | 134.2 | 0.999 | 1.009 | 1.310 | compulsory | ok |")
print("| rope | bwd | cuda/portable | B=32 | 268.4 | %.3f | 268.4 | 1.000 | 1.000 | - | compulsory | %s |"
      % (COST, "ok" if COST >= 0.98 else "FAIL"))
print("%d passed, %d failed (1 unsupported or not applicable)" % ((2, 0) if COST >= 0.98 else (1, 1)))
sys.exit(COST < 0.98)
"""


class Committed(unittest.TestCase):
    def test_no_gpu_test_failed_and_what_is_left_is_told(self):
        found = json.loads((SOURCE / "tests/gpu/evidence.json").read_text("utf-8"))
        result = subprocess.run([SOURCE / "scripts/gpu_evidence.py", "stale", SOURCE], text=True,
                                capture_output=True, check=True)
        self.assertTrue(result.stdout.startswith("GPU evidence: "))
        print(result.stdout.strip())
        bad = {kind: [name for name, of in found[kind].items() if of["state"] != "ok"] for kind in ("tests", "large")}
        self.assertEqual(bad, {"tests": [], "large": []})
        self.assertEqual(found["sanitizers"]["memcheck"]["errors"], 0)
        if found["status"] != 0:
            print("GPU evidence: failed", bad, "golden", found["golden"], "fuzz", found["fuzz"], "sanitizers",
                  found["sanitizers"])
        for row in found.get("costs", {"rows": []})["rows"]:
            if row["verdict"] != "ok":
                print("GPU evidence: cost", row)


class Check(unittest.TestCase):
    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.holder.name)
        (self.folder / "build/tests").mkdir(parents=True)
        for name in ("measure", "probes", "profile", "hopper", "chain"):
            self.program(f"build/tests/test_gpu_{name}", 'print("2 passed, 0 failed")')
        self.program("bin/nvidia-smi", 'print("NVIDIA H100 80GB HBM3, 580.1")')
        self.program("bin/nvidia-cuda-mps-control", "exit 1\n", SHELL)
        self.fakes()

    def tearDown(self):
        self.holder.cleanup()

    def program(self, name, text, start=PYTHON):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(start + text, "utf-8")
        path.chmod(0o755)

    def fakes(self, bad="", errors=0, cost=1.0, sleep=0, gaps=()):
        self.program("build/seqmark", f"GAPS = {gaps!r}\n" + SEQMARK)
        self.program("build/tests/test_gpu_ops", f"BAD = {bad!r}\n" + OPS_TEST)
        self.program("build/tests/test_gpu_costs", f"COST = {cost}\n" + COSTS_TEST)
        head = f"TOOL_ERRORS={errors} SLEEP={sleep} LOG={self.folder}/sanitized\n"
        self.program("bin/compute-sanitizer", head + SANITIZER, SHELL)

    def check(self, *words, script=SOURCE / "scripts/gpu-check.sh", **environment):
        out = self.folder / "out"
        environment["PATH"] = f"{self.folder}/bin:{os.environ['PATH']}"
        result = subprocess.run([script, self.folder / "build", out, *words],
                                capture_output=True, text=True, check=False, timeout=300,
                                env={**os.environ, **environment})
        return result, json.loads((out / "evidence.json").read_text("utf-8"))

    def sanitized(self):
        """Tool and arguments of test_gpu_ops of all runs."""
        lines = (self.folder / "sanitized").read_text("utf-8").splitlines()
        return [(line.split()[0], *line.split("test_gpu_ops ")[1].split()) for line in lines]

    def test_all_is_well(self):
        result, found = self.check()
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertEqual((found["status"], found["device"], found["driver"], found["build"]),
                         (0, "NVIDIA H100 80GB HBM3", "580.1", "seqmark 0.1.0 abc"))
        self.assertEqual(found["tests"]["rope"], {"state": "ok", "passed": 5, "failed": 0, "unsupported": 2})
        self.assertEqual(found["tests"]["ssd"], {"state": "ok", "passed": 25, "failed": 0, "unsupported": 10})
        for name in ("measure", "hopper", "chain"):
            self.assertEqual(found["tests"][name]["passed"], 2, name)
        self.assertEqual(found["large"]["all"],
                         {"state": "ok", "passed": 18, "failed": 0, "unsupported": 0, "no_room": 0})
        self.assertEqual(set(found["large"]), {"all", *found["operators"]})
        self.assertEqual(found["large"]["ssd"]["passed"], 4)
        self.assertEqual(found["golden"]["f16"], {"state": "ok", "ok": 1, "mismatch": 0, "unsupported": 0})
        self.assertEqual(found["worst"]["ssd"]["bwd"],
                         {"rel_l2": 3e-3, "tolerance": 1e-2, "tensor": "d_k", "cell": "bf16 cell"})
        drawn = len(found["operators"]) + len(["ssd", "simple_gla", "retention"])
        self.assertEqual(found["fuzz"], {"state": "ok", "cells": 8 * drawn, "wrong": 0})
        memchecks = [words for words in self.sanitized() if words[0] == "memcheck"]
        self.assertEqual(found["sanitizers"]["memcheck"],
                         {"errors": 0, "with_errors": [], "not_finished": [], "cases": 250 * len(memchecks),
                          "set": "all small cases"})
        self.assertEqual(sorted(found["sanitizers"]), ["initcheck", "memcheck", "racecheck", "synccheck"])
        self.assertEqual((found["costs"]["state"], found["costs"]["passed"], len(found["costs"]["rows"])), ("ok", 2, 2))
        self.assertEqual(found["costs"]["rows"][0]["read"], 1.012)
        self.assertEqual(found["spent"]["costs"]["longest"], "all")

    def test_an_operator_of_many_cases_is_tested_in_parts(self):
        script = [sys.executable, SOURCE / "scripts/gpu_evidence.py"]
        said = subprocess.run([*script, "cases", SOURCE, "all", "rope", "ssd"], capture_output=True, text=True,
                              check=True).stdout.splitlines()
        names = re.search(r"pass_names\[.*?\{(.*?)\}", (SOURCE / "core/cell.c").read_text("utf-8"), re.S)[1]
        passes = re.findall(r'"(\w+)"', names)
        self.assertIn("fwdbwd", passes)
        self.assertEqual(sorted(said), sorted(["rope rope", "ssd.properties ssd --properties",
                                               *(f"ssd.{one} ssd all all all {one} --cases" for one in passes)]))
        self.assertEqual({line.split()[0] for line in said[:2]}, {"ssd.bwd", "ssd.fwdbwd"})  # the longest first

    def test_sanitizers_divide_the_cases(self):
        _, found = self.check("sanitizers")
        names, runs = sorted(found["operators"]), self.sanitized()
        self.assertEqual(sorted(words[1] for words in runs if words[0] == "racecheck"), names)
        self.assertEqual({words[-1] for words in runs if words[0] == "racecheck"}, {"--races"})
        self.assertIn("types and layouts in turn", found["sanitizers"]["racecheck"]["set"])
        for tool in ("memcheck", "initcheck", "synccheck"):
            parts = {name: sorted(words[2:] for words in runs if words[:2] == (tool, name)) for name in names}
            whole, by_type = [("--small",)], [("all", "all", t, "--small") for t in ("bf16", "f16", "f32")]
            self.assertTrue(all(part in (whole, by_type) for part in parts.values()), parts)
            self.assertEqual(parts["ssd"], by_type)
            self.assertEqual(parts["rope"], whole)

    def test_what_the_time_was_too_short_for_is_named(self):
        self.fakes(sleep=60)
        result, found = self.check("sanitizers", GPU_CHECK_SECONDS="4")
        self.assertEqual((result.returncode, found["status"]), (1, 1))
        self.assertIn("ssd", found["sanitizers"]["racecheck"]["not_finished"])
        self.assertLess(found["seconds"], 30)
        _, found = self.check("tests", "fuzz", GPU_CHECK_SECONDS="0")
        self.assertEqual({of["state"] for of in found["tests"].values()} - {"ok"}, {"stopped"})
        self.assertEqual(sorted(set(found["operators"]) - set(found["tests"])), [])
        self.assertEqual((found["fuzz"]["state"], found["status"]), ("stopped", 1))

    def test_parts_of_several_calls_are_one_evidence(self):
        self.fakes(bad="ssd", errors=1)
        _, first = self.check("tests", "golden", "fuzz", "initcheck")
        self.assertEqual((sorted(first["sanitizers"]), first["status"]), (["initcheck"], 1))
        self.fakes()
        _, second = self.check("measuring", "initcheck", "synccheck")
        self.assertEqual(sorted(second["sanitizers"]), ["initcheck", "synccheck"])
        self.assertEqual(second["sanitizers"]["initcheck"]["errors"], 0)
        self.assertEqual((second["golden"], second["fuzz"], second["tests"]["ssd"]),
                         (first["golden"], first["fuzz"], first["tests"]["ssd"]))
        self.assertGreaterEqual(second["seconds"], first["seconds"])
        self.assertEqual(second["status"], 1)  # ssd's test has not run again
        _, third = self.check("tests")
        self.assertEqual(third["status"], 0)

    def test_evidence_of_other_code_is_not_carried_on(self):
        _, found = self.check("golden")
        (self.folder / "out/evidence.json").write_text(json.dumps({**found, "code": "0"}), "utf-8")
        self.assertEqual(self.check("costs")[1]["golden"], {})

    def test_what_runs_side_by_side_shares_the_gpu_and_what_measures_does_not(self):
        told, mine = self.folder / "told", "echo yours${CUDA_MPS_PIPE_DIRECTORY#yours}"
        for name in ("build/tests/test_gpu_costs", "build/tests/test_gpu_ops", "bin/compute-sanitizer"):
            self.program(name, f"echo {name.rsplit('/')[-1]} $({mine}) >>{told}\n", SHELL)
        daemon = f'echo "daemon ${{1:-$(cat)}} $({mine})" >>{told}\n'
        for text, is_shared in ((daemon, True), ("exit 1\n", False)):
            self.program("bin/nvidia-cuda-mps-control", text, SHELL)
            result, _ = self.check("costs", "tests", "synccheck", CUDA_MPS_PIPE_DIRECTORY="yours")
            said = [line.split() for line in told.read_text("utf-8").splitlines()]
            told.unlink()
            shared = {name for name, *_, folder in said if folder != "yours"}
            beside = {"test_gpu_ops", "compute-sanitizer"}
            self.assertEqual(shared, {"daemon", *beside} if is_shared else set())
            self.assertEqual([words[1] for words in said if words[0] == "daemon"], ["-d", "quit"] if is_shared else [])
            self.assertEqual("no MPS" in result.stdout, not is_shared)
            self.assertEqual({words[0] for words in said if words[-1] == "yours"},
                             {"test_gpu_costs"} if is_shared else {"test_gpu_costs", *beside})

    def test_threads_of_openmp_are_no_cores(self):
        """nproc counts the threads that OMP_NUM_THREADS allows."""
        told = self.folder / "told"
        self.program("bin/nproc", f'echo "${{OMP_NUM_THREADS-nothing}}" >>{told}; echo 4\n', SHELL)
        self.check("golden", OMP_NUM_THREADS="1")
        self.assertEqual(told.read_text("utf-8"), "nothing\n")

    def test_an_installed_tree_has_its_programs_in_bin(self):
        self.program("build/bin/seqmark", "GAPS = ()\n" + SEQMARK)
        (self.folder / "build/seqmark").unlink()
        _, found = self.check("golden")
        self.assertEqual((found["build"], found["golden"]["f32"]["state"]), ("seqmark 0.1.0 abc", "ok"))

    def test_a_case_that_only_the_device_does_not_take_is_no_success(self):
        self.fakes(gaps=("b",))
        result, found = self.check("golden")
        self.assertEqual((result.returncode, found["golden"]["bf16"]["state"]), (1, "failed"))

    def test_a_case_that_the_cpu_does_not_take_either_is_no_fault(self):
        root, work = self.folder / "root", self.folder / "work"
        for path, text in ((root / "kernels/registry.def", "SQ_OP(ssd)\n"),
                           (work / "golden.f32", '{"case": "b", "verdict": "unsupported"}\nexit 6 1\n')):
            path.parent.mkdir(parents=True)
            path.write_text(text, "utf-8")
        gaps = root / "tests/golden/gaps.txt"
        gaps.parent.mkdir(parents=True)
        for text, state in (("", "failed"), ("b outputs\n", "ok"), ("c nothing\n", "failed")):
            gaps.write_text(text, "utf-8")
            written = subprocess.run([sys.executable, SOURCE / "scripts/gpu_evidence.py", "write", root,
                                      self.folder / "build/seqmark", work, "all", "1"],
                                     capture_output=True, text=True, check=False).stdout
            self.assertEqual(json.loads(written)["golden"]["f32"],
                             {"state": state, "ok": 0, "mismatch": 0, "unsupported": 1})

    def test_a_cost_that_is_too_high_is_no_success(self):
        self.fakes(cost=0.9)
        result, found = self.check("costs")
        self.assertEqual((result.returncode, found["costs"]["state"], found["costs"]["failed"]), (1, "failed", 1))
        self.assertIn("cost of rope bwd cuda/portable: read 0.9", result.stdout)
        table = subprocess.run([SOURCE / "scripts/gpu_evidence.py", "costs", self.folder / "out/evidence.json"],
                               capture_output=True, text=True, check=True).stdout.splitlines()
        self.assertEqual({line.count("|") for line in table}, {13})
        self.assertIn("| rope | bwd |", table[3])

    def test_a_failed_test_is_kept_with_its_log(self):
        self.fakes(bad="ssd")
        result, found = self.check("tests")
        self.assertEqual((result.returncode, found["status"]), (1, 1))
        self.assertEqual(found["tests"]["ssd"], {"state": "failed", "passed": 17, "failed": 8, "unsupported": 6})
        self.assertIn("FAIL ssd: wrong", (self.folder / "out/log.txt").read_text("utf-8"))

    def test_what_a_sanitizer_finds_is_no_success(self):
        self.fakes(errors=2)
        result, found = self.check("sanitizers")
        self.assertEqual((result.returncode, found["status"]), (1, 1))
        self.assertEqual(found["sanitizers"]["initcheck"]["errors"],
                         2 * len([words for words in self.sanitized() if words[0] == "initcheck"]))
        self.assertEqual(found["sanitizers"]["initcheck"]["with_errors"], sorted(found["operators"]))

    def test_kernels_of_other_code_are_no_evidence_of_these(self):
        script = [sys.executable, SOURCE / "scripts/gpu_evidence.py"]
        code = subprocess.run([*script, "code", SOURCE], capture_output=True, text=True, check=True).stdout.strip()
        for built, status in ((code, 0), ("0123456789abcdef", 1)):
            self.program("build/seqmark-worker", f'print("seqmark-worker 0.1.0 abc, device code {built}")')
            checked = subprocess.run([SOURCE / "scripts/gpu-check.sh", self.folder / "build", self.folder / built,
                                      "golden"],
                                     capture_output=True, text=True, check=False)
            self.assertEqual((checked.returncode, (self.folder / built / "evidence.json").exists()),
                             (status, status == 0), checked.stderr)
            self.assertEqual(f"is of device code {built}, the tree of {code}" in checked.stderr, status == 1)
            written = subprocess.run([*script, "write", SOURCE, self.folder / "build/seqmark", self.folder, "all", "1"],
                                     capture_output=True, text=True, check=False)
            self.assertEqual((written.returncode, json.loads(written.stdout)["status"]), (status, status),
                             written.stderr)

    def test_a_program_that_is_missing_is_no_success(self):
        (self.folder / "build/tests/test_gpu_ops").unlink()
        self.assertEqual(self.check("tests")[1]["status"], 1)

    def test_what_has_not_changed_is_left_out(self):
        root = self.folder / "root"
        for name in ("kernels/ssd/ssd.cu", "kernels/hw/a.cuh", "kernels/gla/gla.cu", "core/backend/cuda/cuda.c"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("1", "utf-8")
        (root / "kernels/registry.def").write_text("SQ_OP(gla)\nSQ_OP(ssd)\n", "utf-8")
        (root / "tests/gpu").mkdir(parents=True)
        script = [sys.executable, SOURCE / "scripts/gpu_evidence.py"]

        def say(*words):
            return subprocess.run([*script, *words], capture_output=True, text=True, check=False).stdout

        written = say("write", root, self.folder / "build/seqmark", self.folder, "all", "1")
        (root / "tests/gpu/evidence.json").write_text(written, "utf-8")
        self.assertEqual(say("operators", root, "changed"), "\n")
        self.assertIn("of this code", say("stale", root))
        (root / "kernels/ssd/ssd.cu").write_text("2", "utf-8")
        self.assertEqual(say("operators", root, "changed"), "ssd\n")
        self.assertIn("stale for ssd", say("stale", root))
        (root / "kernels/hw/a.cuh").write_text("2", "utf-8")
        self.assertEqual(say("operators", root, "changed"), "gla ssd\n")

    def test_of_a_changed_operator_all_is_run_and_of_others_nothing(self):
        tree = self.folder / "tree"
        for part in ("scripts", "kernels", "core/backend/cuda", "models", "tests/gpu"):
            shutil.copytree(SOURCE / part, tree / part)
        kept = json.loads((tree / "tests/gpu/evidence.json").read_text("utf-8"))
        now = json.loads(subprocess.run([tree / "scripts/gpu_evidence.py", "write", tree, self.folder / "build/seqmark",
                                         self.folder, "all", "1"], capture_output=True, text=True, check=False).stdout)
        kept.update({key: now[key] for key in ("code", "shared", "operators")})
        kept["operators"]["rope"] = "0"
        (tree / "tests/gpu/evidence.json").write_text(json.dumps(kept), "utf-8")
        result, found = self.check("--changed", script=tree / "scripts/gpu-check.sh")
        self.assertEqual((result.returncode, found["status"], found["scope"]), (0, 0, "changed"), result.stdout)
        blocks = set(re.findall(r"^SQ_FAMILY\((\w+)\)", (SOURCE / "models/registry.def").read_text("utf-8"), re.M))
        self.assertEqual(set(found["tests"]) - blocks, {"rope"})
        self.assertEqual(set(found["tests"]) & blocks, blocks)
        self.assertEqual((list(found["worst"]), found["large"]), (["rope"], {}))
        self.assertEqual(sorted(found["golden"]), ["bf16", "f16", "f32"])
        self.assertEqual(self.sanitized(), [("memcheck", "rope", "--once")])
        self.assertEqual(found["costs"]["state"], "ok")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
