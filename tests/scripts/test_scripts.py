#!/usr/bin/env python3
"""The scripts that hold numbers against other tools, over fakes of those tools and made-up stores.

usage: test_scripts.py SOURCE_DIR BINARY_DIR
"""
import json
import os
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv[1]).resolve()
BINARY = pathlib.Path(sys.argv[2]).resolve()
CELL = "linear@cublas/fwd/bf16/B=1,L=4096,K=4096,N=4096,bias=0,residual=0,act=none/" \
       "clean-cold,plain,unlocked"


class Folder(unittest.TestCase):
    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.holder.name)

    def tearDown(self):
        self.holder.cleanup()

    def run_script(self, name, *words, code, **environment):
        result = subprocess.run([str(SOURCE / "scripts" / name), *map(str, words)], check=False,
                                capture_output=True, text=True, cwd=self.folder, timeout=120,
                                env={**os.environ, **environment})
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result.stdout + result.stderr

    def program(self, name, text):
        path = self.folder / name
        path.write_text("#!/usr/bin/env python3\nimport sys\n" + text, "utf-8")
        path.chmod(0o755)
        return str(path)


class Truth(Folder):
    """Three cells measured on the CPU, whose numbers are then made up."""

    @classmethod
    def setUpClass(cls):
        cls.made = tempfile.TemporaryDirectory()
        cls.measured = pathlib.Path(cls.made.name) / "store.db"
        for words in (["--op", "linear", "--dtype", "bf16", "--seqlen", "256", "--in-features", "256",
                       "--out-features", "256"],
                      ["--op", "rmsnorm", "--dtype", "f32", "--seqlen", "8,16", "--channels", "8"]):
            command = [str(BINARY / "seqmark"), "run", *words, "--device", "cpu", "--replicates",
                       "2", "--max-samples", "10", "--warmup-time", "1ms", "--label", "made",
                       "--db", str(cls.measured)]
            result = subprocess.run(command, capture_output=True, text=True, check=False,
                                    env={**os.environ, "SEQMARK_WORKER": "/nowhere"})
            assert result.returncode == 0, result.stderr

    @classmethod
    def tearDownClass(cls):
        cls.made.cleanup()

    def store(self, *statements):
        path = self.folder / "store.db"
        path.write_bytes(self.measured.read_bytes())
        db = sqlite3.connect(path)
        db.execute("UPDATE run SET status = 'ok', reason = ''")
        db.execute("DELETE FROM value")
        db.execute("UPDATE device SET l2_bytes = 50000000")
        for statement in statements:
            db.execute(statement)
        db.commit()
        db.close()
        return path

    @staticmethod
    def value(metric, value, where="1", validity="ok"):
        return f"""INSERT INTO value(run_id, metric, value, n, validity)
                   SELECT run_id, '{metric}', {value}, 1, '{validity}' FROM run JOIN cell USING
                   (cell_id) WHERE {where}"""

    LINEAR, LONG, SHORT = "subject = 'linear'", "key LIKE '%L=16,%'", "key LIKE '%L=8,%'"

    def test_all_within(self):
        path = self.store(
            "UPDATE run SET median_ns = 1007000",
            self.value("activity_ns", 1e6), self.value("energy_j_per_launch", "0.5 + 0.01 * replicate"),
            self.value("tensor_ops_bf16", 2 * 256**3 * 1.01, self.LINEAR),
            self.value("bytes_read", 1e9, self.LONG), self.value("dram_bytes_read", 1.02e9, self.LONG))
        said = self.run_script("truth.py", path, code=0)
        self.assertIn("1007.00 - 1000.00 = 7.00 us", said)
        self.assertIn("required 5 us + 0.3 %; reached by 3 of 3", said)
        self.assertRegex(said, r"2 L K N .*reached by 2 of 2")
        self.assertRegex(said, r"bytes read .*reached by 2 of 2")
        self.assertRegex(said, r"energy .*reached by 3 of 3")

    def test_what_is_beyond_is_named(self):
        for statements, words in (
                (["UPDATE run SET median_ns = 1008100", self.value("activity_ns", 1e6)],
                 "BEYOND: 1008.10 - 1000.00"),
                ([self.value("tensor_ops_bf16", 2 * 256**3 * 1.04, self.LINEAR)], "BEYOND: "),
                ([self.value("bytes_read", 1e9, self.LONG),
                  self.value("dram_bytes_read", 0.96e9, self.LONG)], "= 0.9600"),
                ([self.value("energy_j_per_launch", "1 + 0.04 * replicate")], "BEYOND: 2.77 %")):
            with self.subTest(words):
                said = self.run_script("truth.py", self.store(*statements), code=1)
                self.assertIn(words, said)

    def test_what_cannot_be_judged_is_left_out(self):
        path = self.store(
            "UPDATE run SET median_ns = 50000",
            self.value("activity_ns", 40e3),  # too short for the bound
            self.value("tensor_ops_bf16", 0, self.LINEAR),  # not on tensor cores
            self.value("bytes_read", 1e8, self.LONG),  # fits into four caches
            self.value("dram_bytes_read", 1e7, self.LONG),
            self.value("energy_j_per_launch", 5, validity="refused: no counter"))
        said = self.run_script("truth.py", path, code=2)
        self.assertEqual(said.count("nothing stored to check"), 4)

    def test_short_cells_side_by_side(self):
        path = self.store("UPDATE run SET median_ns = 9000", self.value("batch_ns", 3000, self.SHORT),
                          self.value("activity_ns", 4000, self.SHORT))
        said = self.run_script("truth.py", path, "--campaign", "made", code=2)
        self.assertRegex(said, r"    9\.00        -     3\.00     4\.00  rmsnorm@.*L=8,")
        self.assertIn("plain less traced: median 5.00 us", said)

    def test_stores_without_runs(self):
        self.assertIn("no timed run", self.run_script("truth.py", self.store("DELETE FROM run"), code=2))
        self.assertIn("no timed run",
                      self.run_script("truth.py", self.store(), "--campaign", "other", code=2))


class Ncu(Folder):
    OWN = {"dram_bytes_read": 67e6, "dram_bytes_written": 33e6, "instructions": 1000,
           "tensor_ops_bf16": 2e9}

    def compare(self, code, *options, own=None, scale=1.0, lines=True, cell=CELL, ranges=True):
        """scale: of ncu's counts; they are those of two kernels, in thousands' commas."""
        values = [{"metric": m, "value": v, "validity": "ok"} for m, v in (own or self.OWN).items()]
        values.append({"metric": "l2_pct", "value": None, "validity": "refused: no"})
        seqmark = self.program("seqmark", f"print({json.dumps(json.dumps({'values': values}))})\n")
        ncu = self.program("ncu", f"""
words = sys.argv[1:]
log, metrics = words[words.index("--log-file") + 1], words[words.index("--metrics") + 1].split(",")
caches, replay = words[words.index("--cache-control") + 1], words[words.index("--replay-mode") + 1]
open({str(self.folder / "calls")!r}, "a").write(f"{{replay}} {{caches}} {{','.join(metrics)}}\\n")
is_asked = {ranges} or "--nvtx-include" not in words
truth = {{"dram__bytes_read.sum": 67e6, "dram__bytes_write.sum": 33e6, "sm__inst_executed.sum": 1000,
          "sm__ops_path_tensor_src_bf16_dst_fp32.sum": 2e9, "sm__ops_path_tensor_src_fp16.sum": 5e9,
         "lts__t_sectors_op_read_lookup_miss.sum": 2e6, "lts__t_sectors_op_write_lookup_miss.sum": 1e6}}
if replay == "application":
    truth["dram__bytes_write.sum"] = 12e6
with open(log, "w") as out:
    print("==PROF== Connected to process 1", file=out)
    if {lines} and is_asked:
        print(",".join('"' + c + '"' for c in ["ID", "Kernel Name", *metrics]), file=out)
        print(",".join('""' for c in range(len(metrics) + 2)), file=out)
        for i in range(2):
            print(f'"{{i}}","k<1, 2>",' + ",".join(f'"{{truth[m] * {scale} / 2:,.1f}}"' for m in metrics), file=out)
""")
        return self.run_script("compare-ncu.sh", *options, cell, code=code, SEQMARK=seqmark, NCU=ncu)

    def calls(self):
        return (self.folder / "calls").read_text("utf-8").splitlines()

    def test_reads_and_writes_are_told_apart(self):
        said = self.compare(1, own={"dram_bytes_read": 67e6, "dram_bytes_written": 11e6})
        self.assertIn("DRAM bytes read: 6.7e+07 / 6.7e+07; ncu counts +0.00 MB more", said)
        self.assertIn("DRAM bytes written: 1.1e+07 / 3.3e+07; ncu counts +22.00 MB more", said)
        self.assertIn("DRAM bytes: 7.8e+07 / 1e+08 = 0.7800; required 1 +- 0.02: NOT reached", said)
        self.assertEqual({call.split()[0] + call.split()[1] for call in self.calls()}, {"kernelnone"})

    def test_variants_tell_where_bytes_come_from(self):
        own = {**self.OWN, "own_read_misses": 2.1e6, "own_write_misses": 1e5}
        said = self.compare(0, "--variants", own=own)
        self.assertRegex(said, r"seqmark +67\.00 +67\.20 +33\.00 +3\.20\n")
        self.assertRegex(said, r"ncu, kernel-replay +67\.00 +64\.00 +33\.00 +32\.00\n")
        self.assertRegex(said, r"ncu, one-metric-a-run +67\.00 +64\.00 +33\.00 +32\.00\n")
        self.assertRegex(said, r"ncu, application-replay +67\.00 +64\.00 +12\.00 +32\.00\n")
        self.assertIn("ncu, caches-flushed", said)
        modes = {tuple(call.split()[:2]) for call in self.calls()}
        self.assertEqual(modes, {("kernel", "none"), ("application", "none"), ("kernel", "all")})
        single = [call for call in self.calls() if "," not in call]
        self.assertEqual(len(single), 4)

    def test_f16_has_its_own_operations(self):
        said = self.compare(0, own={"tensor_ops_f16": 5e9}, cell=CELL.replace("bf16", "f16"))
        self.assertIn("f16 tensor operations: 5e+09 / 5e+09 = 1.0000", said)

    def test_equal_counts(self):
        said = self.compare(0)
        self.assertIn("2 kernels in ncu's range", said)
        for words in ("DRAM bytes: 1e+08 / 1e+08 = 1.0000", "operations: 2e+09 / 2e+09 = 1.0000",
                      "instructions: 1000 / 1000 = 1.0000"):
            self.assertIn(words + "; required 1 +- 0.02: reached", said)

    def test_without_a_range_all_kernels_count(self):
        self.assertIn("2 kernels in ncu's range", self.compare(0, ranges=False))

    def test_within_and_beyond(self):
        self.compare(0, scale=1.019)
        self.assertIn("NOT reached", self.compare(1, scale=0.975))

    def test_nothing_to_compare(self):
        self.assertEqual(self.compare(1, lines=False).count("not counted on both sides"), 3)
        said = self.compare(0, own={"instructions": 1000})
        self.assertIn("DRAM bytes: not counted on both sides", said)

    def test_tools_that_fail(self):
        broken = self.program("broken", "sys.stderr.write('no permission\\n')\nsys.exit(5)\n")
        fine = self.program("fine", "print('{\"values\": []}')\n")
        said = self.run_script("compare-ncu.sh", CELL, code=2, SEQMARK=broken, NCU=fine)
        self.assertIn("seqmark profile failed: no permission", said)
        said = self.run_script("compare-ncu.sh", CELL, code=2, SEQMARK=fine, NCU=broken)
        self.assertIn("ncu failed: no permission", said)
        said = self.run_script("compare-ncu.sh", CELL, code=2, SEQMARK=fine, NCU="/nowhere/ncu")
        self.assertIn("no /nowhere/ncu", said)
        self.assertIn("compare-ncu.sh [--variants] CELL...", self.run_script("compare-ncu.sh", code=2))


def sanitizer_of(library):
    """What must be loaded before a library that was built with a sanitizer."""
    needed = subprocess.run(["ldd", library], capture_output=True, text=True, check=False).stdout
    return " ".join(line.split()[2] for line in needed.splitlines()
                    if "libasan" in line or "libubsan" in line)


class DoBench(Folder):
    LIBRARY = BINARY / "libseqmark_time.so"
    TIME_A_SLEEP = """
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location("script", sys.argv[1])
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
timer = script.Timer(sys.argv[2], "cpu", None)
for cache in ("clean-cold", "dirty-cold"):
    us, clock = timer.median_us(lambda: time.sleep(1e-3), cache)
    print("slept" if us >= 1000 and clock != clock else f"{us} us at {clock} MHz")
timer.cool()
for call, cache in ((lambda: 1 / 0, "hot"), (lambda: 0, "hto")):
    try:
        timer.median_us(call, cache)
    except RuntimeError as failure:
        print(failure)
timer.close()
"""

    def test_the_library_as_the_script_calls_it(self):
        result = subprocess.run(
            [sys.executable, "-c", self.TIME_A_SLEEP, str(SOURCE / "scripts/compare-do-bench.py"),
             str(self.LIBRARY)], capture_output=True, text=True, check=False, timeout=120,
            env={**os.environ, "LD_PRELOAD": sanitizer_of(self.LIBRARY),
                 "ASAN_OPTIONS": "detect_leaks=0"})  # Python itself leaves some
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = result.stdout.splitlines()
        self.assertEqual(lines[:2], ["slept", "slept"])
        self.assertIn("the launch returned 1", lines[2])
        self.assertIn('did you mean "hot"', lines[3])

    def test_what_it_needs(self):
        said = self.run_script("compare-do-bench.py", "--library", "none.so", code=2)
        self.assertIn("no none.so", said)
        (self.folder / "torch.py").write_text("raise ImportError('torch is broken here')\n", "utf-8")
        said = self.run_script("compare-do-bench.py", "--library", self.LIBRARY, code=2,
                               PYTHONPATH=str(self.folder))
        self.assertIn("not importable: torch is broken here", said)
        (self.folder / "torch.py").write_text(
            "class cuda:\n    is_available = staticmethod(lambda: False)\n", "utf-8")
        (self.folder / "triton").mkdir()
        (self.folder / "triton/__init__.py").write_text("", "utf-8")
        (self.folder / "triton/testing.py").write_text("do_bench = None\n", "utf-8")
        said = self.run_script("compare-do-bench.py", "--library", self.LIBRARY, code=2,
                               PYTHONPATH=str(self.folder))
        self.assertIn("PyTorch sees no GPU", said)


class GateSpeed(Folder):
    def test_small_stores_are_made_and_what_is_slower_in_them_is_found(self):
        words = [BINARY, self.folder / "out", "--gate-cells", 300, "--cells", 100, "--nights", 16]
        said = self.run_script("gate-speed.py", *words, "--keep", code=0)
        self.assertRegex(said, r"gate: [\d.]+ s \([\d.]+ s of a core\), \d+ MB at most\n")
        self.assertIn("of 3 slower cells 0 are no suspects", said)
        self.assertIn("of 1 slower cells 0 have no change", said)
        db = sqlite3.connect(self.folder / "out/gate.db")
        self.assertEqual(db.execute("SELECT count(*) FROM run").fetchall(), [(2 * 300 * 5,)])
        self.assertEqual(db.execute("PRAGMA foreign_key_check").fetchall(), [])
        # A store in which nothing is slower is told, and the stores are removed.
        db.execute("UPDATE run SET median_ns = median_ns / 1.05, cycles = cycles / 1.05 WHERE kernel_hash "
                   "LIKE 'b%'")
        db.commit()
        db.close()
        said = self.run_script("gate-speed.py", *words, code=1)
        self.assertIn("of 3 slower cells 3 are no suspects", said)
        self.assertEqual(list((self.folder / "out").glob("*.db")), [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
