#!/usr/bin/env python3
"""seqmark characterize from outside: store, forms of output, a campaign that goes by its ceilings,
workers that die, fall silent or answer nonsense, interruption.

usage: test_characterize.py SOURCE_DIR BINARY_DIR
"""
import json
import os
import pathlib
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
import unittest

SEQMARK = pathlib.Path(sys.argv[2]) / "seqmark"
CPU = ["copy_gbytes_per_s", "fma_f32_tflops", "read_gbytes_per_s", "triad_gbytes_per_s",
       "write_gbytes_per_s"]
TINY = ["run", "--op", "rmsnorm", "--dtype", "f32", "--seqlen", "8", "--channels", "8",
        "--device", "cpu", "--max-samples", "10", "--warmup-time", "1ms"]

# A worker that greets as a GPU and then does what MODE says.
WORKER = """#!/usr/bin/env python3
import json, os, sys, time
def say(**message):
    print(json.dumps(message), flush=True)
def ceiling(name, unit, value):
    say(**{"is": "ceiling", "ceiling": {"name": name, "unit": unit, "value": value,
           "lo": value * 0.99, "hi": value * 1.01, "sm_mhz": 1755.0}})
for line in sys.stdin:
    verb = json.loads(line)["do"]
    if verb == "hello":
        say(**{"is": "hello", "device": {"backend": "cuda", "index": 0, "uuid": "GPU-1",
               "name": "Fake <GPU>", "arch": "sm_90", "pci": "", "sm_count": 132},
               "environment": {"fingerprint": "00000000000000aa"}, "providers": {}})
        continue
    ceiling("copy_gbytes_per_s", "GB/s", 3000.0)
    mode = os.environ["MODE"]
    if mode == "crash":
        os.kill(os.getpid(), 11)
    if mode == "nonsense":
        say(**{"is": "ceiling", "ceiling": {"name": "x"}})
    if mode == "error":
        say(**{"is": "error", "message": "the card is gone"})
    if mode == "wait":
        while True:
            say(**{"is": "stage", "stage": "characterize"})
            time.sleep(0.1)
    say(**{"is": "absent", "name": "peer_gbytes_per_s", "reason": "there is no other GPU"})
    ceiling("gemm_bf16_tflops", "TFLOP/s", 800.0)
    say(**{"is": "done"})
"""


class Characterize(unittest.TestCase):
    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.holder.name)
        worker = self.folder / "worker.py"
        worker.write_text(WORKER, "utf-8")
        worker.chmod(worker.stat().st_mode | stat.S_IXUSR)

    def tearDown(self):
        self.holder.cleanup()

    def run_it(self, *words, mode="good"):
        environment = {**os.environ, "SEQMARK_WORKER": str(self.folder / "worker.py"),
                       "MODE": mode}
        return subprocess.run([str(SEQMARK), *words], cwd=self.folder, capture_output=True,
                              text=True, env=environment, timeout=300, check=False)

    def rows(self, sql):
        with sqlite3.connect(self.folder / "seqmark.db") as store:
            return store.execute(sql).fetchall()

    def test_cpu_end_to_end(self):
        result = self.run_it("characterize", "--device", "cpu", "--label", "here", "-o", "json")
        self.assertEqual(result.returncode, 0, result.stderr)
        rows = json.loads(result.stdout)
        self.assertEqual(sorted(r["ceiling"] for r in rows), CPU)
        for row in rows:
            self.assertGreater(row["value"], 0)
            self.assertLessEqual(row["lo"], row["value"])
            self.assertLessEqual(row["value"], row["hi"])
        stored = self.rows("SELECT name, value, suite, label, state FROM ceiling "
                           "JOIN campaign USING (campaign_id) ORDER BY name")
        self.assertEqual([r[0] for r in stored], CPU)
        self.assertEqual({r[2:] for r in stored}, {("characterize", "here", "finished")})
        page = pathlib.Path(result.stderr.strip().splitlines()[-1])
        self.assertTrue((self.folder / page).is_file(), result.stderr)
        self.assertEqual(page.parent, pathlib.Path("out/characterize"))

    def test_forms_of_output(self):
        for form, start in (("table", "ceiling "), ("csv", "ceiling,value"), ("md", "| ceiling"),
                            ("html", "<!DOCTYPE html>")):
            result = self.run_it("characterize", "--device", "0", "-o", form)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertTrue(result.stdout.startswith(start), result.stdout[:80])
            self.assertIn("absent: there is no other GPU", result.stderr)
        self.assertIn("Fake &lt;GPU&gt;", result.stdout)

    def test_what_is_no_option_is_refused_before_measuring(self):
        for words in (["-o", "htlm"], ["extra"], ["--lable", "x"], ["--device", "gpu"]):
            result = self.run_it("characterize", *words)
            self.assertEqual(result.returncode, 1, result.stderr)
            self.assertFalse((self.folder / "seqmark.db").exists())

    def test_failures_keep_what_was_measured(self):
        for mode, code, says in (("crash", 1, "signal 11"), ("nonsense", 1, "no field"),
                                 ("error", 5, "the card is gone")):
            with self.subTest(mode):
                result = self.run_it("characterize", "--device", "0", mode=mode)
                self.assertEqual(result.returncode, code, result.stderr)
                self.assertIn(says, result.stderr.strip().splitlines()[-1])
                self.assertEqual(self.rows("SELECT name, state FROM ceiling JOIN campaign USING "
                                           "(campaign_id) ORDER BY started DESC, campaign_id DESC "
                                           "LIMIT 1"), [("copy_gbytes_per_s", "failed")])

    def test_interrupted(self):
        environment = {**os.environ, "SEQMARK_WORKER": str(self.folder / "worker.py"),
                       "MODE": "wait"}
        with subprocess.Popen([str(SEQMARK), "characterize", "--device", "0"], cwd=self.folder,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=environment) as child:
            for line in child.stderr:
                if line.startswith("copy_"):
                    break
            child.send_signal(signal.SIGINT)
            rest = child.stderr.read()
            self.assertEqual(child.wait(timeout=60), 130, rest)
        self.assertIn("1 ceilings stored", rest)
        self.assertEqual(self.rows("SELECT state FROM campaign"), [("interrupted",)])
    def test_a_campaign_goes_by_what_was_measured(self):
        self.assertEqual(self.run_it("characterize", "--device", "cpu").returncode, 0)
        result = self.run_it(*TINY, "--label", "after")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("5 ceilings of characterize ", result.stderr)
        pairs = self.rows("SELECT a.value = b.value FROM ceiling a JOIN ceiling b USING (name) "
                          "JOIN campaign c ON c.campaign_id = b.campaign_id AND c.label = 'after' "
                          "JOIN campaign d ON d.campaign_id = a.campaign_id "
                          "AND d.suite = 'characterize'")
        self.assertEqual(pairs, [(1,)] * 5)

    def change(self, sql):
        store = sqlite3.connect(self.folder / "seqmark.db")
        store.execute(sql)
        store.commit()
        store.close()

    def goes_by_them(self):
        result = self.run_it(*TINY)
        self.assertEqual(result.returncode, 0, result.stderr)
        return "ceilings of characterize" in result.stderr

    def test_what_is_old_or_of_another_environment_is_measured_again(self):
        self.assertEqual(self.run_it("characterize", "--device", "cpu").returncode, 0)
        self.assertTrue(self.goes_by_them())
        for column, value in (("started", "started - 8 * 86400"), ("state", "'failed'"),
                              ("suite", "'quick'")):
            ((kept,),) = self.rows(f"SELECT {column} FROM campaign WHERE campaign_id = 1")
            self.change(f"UPDATE campaign SET {column} = {value} WHERE campaign_id = 1")
            self.assertFalse(self.goes_by_them(), column)
            self.change(f"UPDATE campaign SET {column} = {kept!r} WHERE campaign_id = 1")
        self.assertTrue(self.goes_by_them())
        self.change("UPDATE environment SET fingerprint = 'another'")
        self.assertFalse(self.goes_by_them())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
