#!/usr/bin/env python3
"""Campaigns under bad luck: workers that crash, hang or babble (fake_worker.py), a parent that is
killed or interrupted. Rows and exit codes must tell, and --resume must finish without a run twice.

usage: test_fault.py SOURCE_DIR BINARY_DIR
"""
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
from campaigns import BINARIES, SEQMARK, SOURCE, Campaigns

FAKE = SOURCE / "tests/fault/fake_worker.py"
FAKE_CELLS = ["--op", "ssd", "--provider", "cuda/portable", "--seqlen", "64,128,256", "--width",
              "256", "--device", "0", "--timeout", "1500ms"]
CPU_CELLS = ["--op", "rmsnorm,causal_conv1d", "--dtype", "f32", "--seqlen", "8..64*2", "--batch",
             "1,2", "--channels", "8,16", "--device", "cpu", "--max-samples", "10",
             "--warmup-time", "1ms"]


class Bench(Campaigns):
    def environment(self, mode="well", when=""):
        log = os.path.join(self.folder.name, "log")
        return {**os.environ, "SEQMARK_WORKER": str(FAKE), "FAKE_WORKER": mode, "FAKE_WHEN": when,
                "FAKE_LOG": log}

    def run_fake(self, mode, *words, when="L=128,"):
        return subprocess.run(self.command(*FAKE_CELLS, *words), env=self.environment(mode, when),
                              cwd=self.folder.name, capture_output=True, text=True, timeout=120,
                              check=False)


class Workers(Bench):
    def check(self, mode, code, status, reason):
        result = self.run_fake(mode)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(self.statuses(), sorted(["ok", "ok", status]))
        (told,) = self.rows(f"SELECT reason FROM run WHERE status = '{status}'")[0]
        self.assertIn(reason, told)
        self.assertIn(f"exit {code}:", self.last_line(result))

    def test_crash_is_a_row_and_exit_6(self):
        self.check("crash", 6, "crashed", "signal 11")

    def test_hang_is_a_row_and_exit_6(self):
        self.check("hang", 6, "timeout", "silent for 1.5 s")

    def test_garbage_is_a_row_and_exit_6(self):
        self.check("garbage", 6, "error", "no message")

    def test_sticky_error_is_a_row_and_exit_6(self):
        self.check("sticky", 6, "error", "misaligned")

    def test_wrong_numbers_are_exit_4_and_keep_no_time(self):
        self.check("wrong", 4, "mismatch", "rel_l2")
        self.assertEqual(self.rows("SELECT median_ns, samples FROM run WHERE status = 'mismatch'"),
                         [(None, None)])

    def test_unsupported_oom_and_noisy_are_fine(self):
        self.check("unsupported", 0, "unsupported", "head dim")
        os.remove(self.db)
        self.check("oom", 0, "oom", "are free")
        os.remove(self.db)
        self.check("noisy", 0, "noisy", "wide")

    def test_impossible_times_are_refused(self):
        self.check("impossible", 6, "error", "implausible: ")
        self.assertEqual(self.rows("SELECT median_ns, n, reason LIKE '%device memory%' FROM run "
                                   "WHERE status = 'error'"), [(None, 0, 1)])
        self.assertEqual(self.rows("SELECT v.value, v.validity FROM value v JOIN run USING "
                                   "(run_id) WHERE status = 'error' AND metric = 'batch_ns'"),
                         [(None, "refused: implausible")])

    def test_times_above_a_measured_ceiling_are_flagged(self):
        result = self.run_fake("fast")
        self.assertEqual(result.returncode, 0, result.stderr)
        (value,), = self.rows("SELECT value FROM value WHERE metric = 'above_ceiling_pct'")
        self.assertAlmostEqual(value, 100 * (3.3e6 / 1004.5 / 2900 - 1), places=3)

    def test_try_oom_tries(self):
        self.assertEqual(self.run_fake("oom", "--try-oom", "on").returncode, 0)
        self.assertEqual(self.statuses(), ["ok", "ok", "ok"])

    def test_allowed_failures_are_fine(self):
        self.assertEqual(self.run_fake("crash", "--allow-failed", "1").returncode, 0)

    def test_no_worker_process_is_left(self):
        self.run_fake("hang")
        with open(os.path.join(self.folder.name, "log"), encoding="utf-8") as log:
            pids = {json.loads(line)["pid"] for line in log}
        self.assertTrue(pids)
        for pid in pids:
            self.assertFalse(os.path.exists(f"/proc/{pid}"), pid)

    def test_retry_runs_the_failed_again(self):
        self.assertEqual(self.run_fake("crash").returncode, 6)
        result = self.run_fake("well", "--resume")
        self.assertEqual(result.returncode, 0)
        self.assertIn("nothing to do", self.last_line(result))
        result = self.run_fake("well", "--resume", "--retry", "crashed")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.statuses(), ["crashed", "ok", "ok", "ok"])
        self.assertEqual(self.rows("SELECT count(*) FROM campaign"), [(1,)])
        self.assertEqual(self.rows("SELECT max(attempt) FROM run"), [(1,)])

    def test_a_resumed_campaign_knows_its_proofs(self):
        words = ["--counters", "off", "--replicates", "2"]
        self.assertEqual(self.run_fake("crash", *words).returncode, 6)
        os.remove(os.path.join(self.folder.name, "log"))
        result = self.run_fake("well", *words, "--resume", "--retry", "ok,crashed", when="")
        self.assertEqual(result.returncode, 0, result.stderr)
        stored = dict(self.rows("SELECT key, min(checksum) FROM run JOIN cell USING (cell_id) "
                                "WHERE status = 'ok' AND attempt = 0 GROUP BY 1"))
        self.assertEqual(len(stored), 2)
        with open(os.path.join(self.folder.name, "log"), encoding="utf-8") as lines:
            requests = [json.loads(line) for line in lines]
        runs = [r for r in requests if r["do"] == "run"]
        self.assertEqual(len(runs), 6)
        known = [r for r in runs if r["cell"] in stored]
        self.assertEqual([r["proved"] for r in known], [stored[r["cell"]] for r in known])
        crashed = [r.get("proved") for r in runs if r["cell"] not in stored]
        self.assertEqual(crashed[0], None)  # proved by this run, for the next
        self.assertEqual(len(crashed[1]), 16)

    def test_missing_device_is_exit_5_and_no_store(self):
        result = self.run_fake("silent-hello")
        self.assertEqual(result.returncode, 5)
        self.assertIn("no CUDA-capable device", self.last_line(result))
        self.assertFalse(os.path.exists(self.db))

    def test_best_device_falls_back_to_the_cpu_and_says_why(self):
        words = [w for w in CPU_CELLS if w not in ("--device", "cpu")]
        result = subprocess.run(self.command(*words, "--dry-run"), capture_output=True, text=True,
                                env=self.environment("silent-hello"), cwd=self.folder.name,
                                timeout=60, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("no CUDA-capable device", result.stderr)
        self.assertIn("cpu/ref", result.stdout)

    def test_counters_join_the_row(self):
        self.assertEqual(self.run_fake("well").returncode, 0)
        sql = "SELECT value FROM value WHERE metric = 'dram_bytes_read'"
        self.assertEqual(self.rows(sql), [(123.0,)] * 3)
        os.remove(self.db)
        self.assertEqual(self.run_fake("well", "--counters", "off").returncode, 0)
        self.assertEqual(self.rows(sql), [])

    def test_a_budget_tells_the_time_of_the_whole_plan(self):
        # The slow cells take two seconds each; half a second is predicted.
        words = [*FAKE_CELLS, "--replicates", "9", "--budget", "5s", "-o", "json"]
        result = subprocess.run(self.command(*words), env=self.environment("slow"), text=True,
                                cwd=self.folder.name, capture_output=True, timeout=120, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        told = json.loads(result.stdout)
        self.assertEqual((told["state"], told["cost"]["plan_cells"]), ("budget", 3))
        self.assertEqual(told["cost"]["runs"] + told["cost"]["left"], 27)
        self.assertGreater(told["cost"]["plan_seconds"], 27 * 2)
        self.assertIsNone(told["cost"]["plan_median_run_seconds"])  # no later run was made
        self.assertIn("the whole plan at this pace: 3 cells x 9 take", result.stderr)

    def test_doctor_tries_the_counters_and_asks_the_driver(self):
        nvml = BINARIES / "tests/libfake_nvml.so"
        for mode, state in (("well", "ok"), ("profile-crash", "limited")):
            environment = {**self.environment(mode), "SEQMARK_NVML": str(nvml),
                           "FAKE_NVML": "mig=1 processes=1,2 temperature=80 margin=4"}
            result = subprocess.run([str(SEQMARK), "doctor", "--db", self.db, "-o", "json"],
                                    env=environment, capture_output=True, text=True, timeout=120,
                                    check=False)
            self.assertEqual(result.returncode, 0, result.stderr)
            found = {f["check"]: f for f in json.loads(result.stdout)}
            self.assertEqual(found["counters"]["state"], state, found["counters"])
            self.assertEqual(found["mig"]["state"], "limited")
            self.assertIn("4 C below slowdown", found["heat"]["detail"])
            self.assertIn("2 others", found["gpu processes"]["detail"])
            self.assertEqual(found["power cap"]["state"], "absent")
        self.assertIn("signal 11", found["counters"]["detail"])
        self.assertIn("CAP_SYS_ADMIN", found["counters"]["mend"])

    def test_budget_is_exit_0_and_names_what_is_left(self):
        result = self.run_fake("well", "--budget", "1ms")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr.count("  ssd@cuda/portable"), 3)
        self.assertEqual(self.rows("SELECT state FROM campaign"), [("budget",)])
        self.assertEqual(self.run_fake("well", "--resume").returncode, 0)
        self.assertEqual(self.statuses(), ["ok", "ok", "ok"])
        self.assertEqual(self.rows("SELECT state FROM campaign"), [("finished",)])


class Profile(Bench):
    """seqmark profile against a worker that answers as a GPU's would, or does not."""

    def profile(self, mode, *words, code=0):
        plan = subprocess.run(self.command(*FAKE_CELLS, "--seqlen", "128", "--dry-run", "-o",
                                           "json"), env=self.environment(), cwd=self.folder.name,
                              capture_output=True, text=True, timeout=60, check=True)
        (cell,) = json.loads(plan.stdout)
        result = subprocess.run([str(SEQMARK), "profile", cell["cell"], "--db", self.db, "-o",
                                 "json", *words], env=self.environment(mode),
                                cwd=self.folder.name, capture_output=True, text=True, timeout=60,
                                check=False)
        self.assertEqual(result.returncode, code, result.stderr)
        pages = list(pathlib.Path(self.folder.name, "out/profile").glob("*.html"))
        self.assertEqual(len(pages), 1)
        return json.loads(result.stdout)

    def requests(self, verb):
        with open(os.path.join(self.folder.name, "log"), encoding="utf-8") as log:
            return [r for r in map(json.loads, log) if r["do"] == verb]

    def test_counters_of_the_sets_asked_for(self):
        shown = self.profile("well")
        self.assertEqual([r["set"] for r in self.requests("profile")],
                         ["roofline,stalls,mix,flops"])
        values = {v["metric"]: v["value"] for v in shown["values"]}
        self.assertEqual(values["dram_bytes_read"], 123)
        self.assertEqual([k["kernel"] for k in shown["kernels"]], ["k"])
        self.assertNotIn("sustain", shown)
        self.profile("well", "--counters", "basic")
        self.assertEqual(self.requests("profile")[-1]["set"], "basic")
        self.profile("well", "--counters", "off")
        self.assertEqual(len(self.requests("profile")), 2)

    def test_counting_and_timing_are_different_processes(self):
        self.profile("well", "--sustain", "1s", "--timeline")
        timing, counting = self.requests("run"), self.requests("profile")
        self.assertNotEqual(timing[0]["pid"], counting[0]["pid"])
        self.assertNotIn(self.requests("sustain")[0]["pid"], (timing[0]["pid"],
                                                              counting[0]["pid"]))

    def test_curves(self):
        shown = self.profile("well", "--sustain", "5s", "--timeline")
        self.assertEqual(self.requests("sustain")[0]["seconds"], 5)
        self.assertEqual(len(shown["sustain"]["rows"]), 50)
        self.assertEqual(shown["sustain"]["rows"][0],
                         {"seconds": 0.1, "launches_per_s": 699, "sm_mhz": 1979, "power_w": None,
                          "temperature_c": 40})
        self.assertIn("Sustained is ", shown["sustain"]["words"])
        self.assertIn("power is absent", shown["sustain"]["words"])
        rows = shown["timeline"]["rows"]
        self.assertAlmostEqual(rows[-1]["seconds"], 99e-5)
        self.assertEqual((rows[0]["pm_issue_pct"], rows[0]["pm_l2_pct"]), (50, None))
        self.assertEqual((shown["timeline"]["interval_ns"], shown["timeline"]["dropped"]), (10000, 1))
        self.assertIn("Dropped: 1 taken long before", shown["timeline"]["words"])

    def test_bad_curves_are_absent_with_a_reason(self):
        shown = self.profile("sustain-garbage", "--sustain", "1s")
        self.assertEqual(shown["sustain"]["rows"], [])
        self.assertIn("inconsistent: row 1 is no list of 5", shown["sustain"]["reason"])
        shown = self.profile("no-timeline", "--timeline")
        self.assertEqual(shown["timeline"]["rows"], [])
        self.assertEqual(shown["timeline"]["reason"], "refused: no permission")

    def test_a_profile_that_crashes_is_said_in_every_value(self):
        shown = self.profile("profile-crash")
        refused = [v for v in shown["values"] if v["validity"].startswith("refused: ")]
        self.assertIn("stall_long_scoreboard", {v["metric"] for v in refused})
        self.assertIn("dram_pct", {v["metric"] for v in refused})
        self.assertTrue(all(v["value"] is None and "signal 11" in v["validity"] for v in refused))
        self.assertEqual(shown["verdict"]["kind"], "undecided")
        self.assertIn("signal 11", shown["verdict"]["words"])

    def test_a_cell_that_fails_has_its_page_and_exit_code(self):
        shown = self.profile("wrong", "--sustain", "1s", code=4)
        self.assertEqual((shown["status"], shown["median_ns"]), ("mismatch", None))
        self.assertEqual(shown["sustain"]["reason"], "the cell was not measured")
        self.assertEqual(self.requests("sustain") + self.requests("profile"), [])


class Signals(Bench):
    """The slow worker takes two seconds a cell, so a signal meets a run in flight."""

    def start(self, mode, *words, when=""):
        words = words or ("--counters", "off")
        return subprocess.Popen(self.command(*FAKE_CELLS, *words),
                                env={**self.marked(), **self.environment(mode, when)},
                                cwd=self.folder.name, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True)

    def requests(self, verb):
        log = os.path.join(self.folder.name, "log")
        if not os.path.exists(log):
            return []
        with open(log, encoding="utf-8") as lines:
            return [r for r in map(json.loads, lines) if r["do"] == verb]

    def wait_for(self, verb, count=1):
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if len(self.requests(verb)) >= count:
                return
            time.sleep(0.02)
        self.fail(f"no {verb} was asked for")

    def wait_for_run(self):
        self.wait_for("run")

    def test_a_lost_terminal_is_a_first_signal(self):
        process = self.start("slow")
        self.wait_for_run()
        process.send_signal(signal.SIGHUP)
        _, stderr = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, stderr)
        self.assertEqual(self.rows("SELECT state FROM campaign"), [("interrupted",)])

    def test_first_signal_ends_after_the_run_in_flight(self):
        process = self.start("slow")
        self.wait_for_run()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, stderr)
        self.assertIn("exit 130: interrupted", stderr.strip().splitlines()[-1])
        self.assertGreaterEqual(len(self.statuses()), 1)
        self.assertEqual(self.rows("SELECT state FROM campaign"), [("interrupted",)])
        self.assertEqual(self.run_fake("well", "--counters", "off", "--resume").returncode, 0)
        self.assertEqual(self.statuses(), ["ok", "ok", "ok"])

    def test_second_signal_ends_at_once(self):
        process = self.start("hang")
        self.wait_for_run()
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(self.rows("SELECT state FROM campaign"), [("interrupted",)])


    def test_replicates_survive_interruptions(self):
        """However often it is interrupted: each run once, in processes of their own, proofs known."""
        words = ["--replicates", "5", "--resume"]
        for stop_at in (4, 8, 11):
            process = self.start("brief", *words)
            self.wait_for("run", stop_at)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 130, stderr)
            self.assertEqual(self.rows("SELECT state FROM campaign"), [("interrupted",)])
            self.assertGreaterEqual(self.rows("SELECT count(*) FROM run")[0][0], stop_at - 1)
            self.assert_no_process_is_left()
        self.assertEqual(self.run_fake("brief", *words, when="").returncode, 0)
        self.assertEqual(self.rows("SELECT count(*), count(DISTINCT cell_id * 10 + replicate), "
                                   "sum(status = 'ok') FROM run"), [(15, 15, 15)])
        self.assertEqual(self.rows("SELECT count(*) FROM value WHERE metric = 'dram_bytes_read'"),
                         [(3,)])  # counters once a cell
        runs = self.requests("run")
        self.assertEqual(len({(r["cell"], r["pid"]) for r in runs}), len(runs))
        self.assertEqual(sum("proved" not in r for r in runs), 3)

    def test_second_signal_in_a_profile_ends_at_once(self):
        process = self.start("profile-hang", "--replicates", "2")
        self.wait_for("profile")
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(self.rows("SELECT state FROM campaign"), [("interrupted",)])
        self.assert_no_process_is_left()
        self.assertEqual(self.run_fake("well", "--replicates", "2", "--resume").returncode, 0)
        self.assertEqual(self.statuses(), ["ok"] * 6)


class KilledParent(Bench):
    """kill -9 at random moments loses at most the run in flight; resuming finishes the rest."""

    def resume(self):
        return subprocess.Popen(self.command(*CPU_CELLS, "--resume"), cwd=self.folder.name,
                                env=self.marked(),
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def test_kill_loop(self):
        rng = random.Random(1)
        kills = 0
        for _ in range(60):
            process = self.resume()
            try:
                self.assertEqual(process.wait(timeout=0.05 + rng.random() * 0.6), 0)
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                self.assert_no_process_is_left()
                kills += 1
        self.assertGreater(kills, 0)
        process = self.resume()
        self.assertEqual(process.wait(timeout=300), 0)
        self.assertEqual(self.rows("PRAGMA integrity_check"), [("ok",)])
        self.assertEqual(self.rows("SELECT count(*), sum(state = 'finished') FROM campaign"),
                         [(1, 1)])
        (planned,) = self.rows("SELECT planned FROM campaign")[0]
        self.assertEqual(planned, 32)
        self.assertEqual(self.rows("SELECT count(*), count(DISTINCT cell_id) FROM run"),
                         [(planned, planned)])
        self.assertEqual(self.rows("SELECT count(*) FROM run WHERE status IN ('crashed', 'error')"),
                         [(0,)])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
