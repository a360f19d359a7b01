#!/usr/bin/env python3
"""Every fault of a GPU (tests/support/fake_backend.h) and of its driver (fake_nvml.c), through whole
campaigns of the real worker: a clear row, the right exit code, the other cells measured, a store
that resumes, and no process left.

usage: test_fault_matrix.py SOURCE_DIR BINARY_DIR
"""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
from campaigns import SEQMARK, Campaigns

CELLS = ["--op", "rmsnorm", "--dtype", "f32", "--seqlen", "64,128,256", "--batch", "1",
         "--channels", "256", "--device", "0", "--order", "plan", "--timeout", "1500ms",
         "--max-samples", "10", "--warmup-time", "1ms", "--max-interval", "1e9"]
BAD_CELL = "L=128,"

# name: (fault, status, words of its reason, exit code)
FAULTS = {
    "hang": ("hang@128", "timeout", "silent for 1.5 s, in stage proof", 6),
    "crash": ("crash@128", "crashed", "signal 11", 6),
    "exit": ("exit@128", "crashed", "exit code 9", 6),
    "sticky_error": ("sticky@128", "error", "illegal memory access", 6),
    "failed_launch": ("fail@128", "error", "too many resources", 6),
    "wrong_result": ("wrong@128", "mismatch", "at element 32767", 4),
    "nan": ("nan@128", "mismatch", "nan", 4),
    "changing_result": ("changes@128", "mismatch", "changed between launches", 4),
    "no_memory_for_a_plan": ("unplanned@128", "oom", "no room for a plan", 0),
}


class FakeGpu(Campaigns):
    def run_cells(self, fault, *words, **more):
        command = self.command(*CELLS, "--counters", "off", *words)
        return subprocess.run(command, env=self.on_fake_gpu(fault, **more), cwd=self.folder.name,
                              capture_output=True, text=True, timeout=120, check=False)

    def assert_store_is_whole(self, state="finished"):
        self.assertEqual(self.rows("PRAGMA integrity_check"), [("ok",)])
        self.assertEqual(self.rows("SELECT state FROM campaign"), [(state,)])

    def value(self, metric):
        """(value, validity) of the newest run that has it."""
        found = self.rows("SELECT value, validity FROM value "
                          f"WHERE metric = '{metric}' ORDER BY run_id")
        self.assertTrue(found, metric)
        return found[-1]

    def wait_for_campaign(self):
        """Until the campaign is in the store, which is when its runs begin."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                if self.rows("SELECT count(*) FROM campaign") == [(1,)]:
                    return
            except Exception:  # pylint: disable=broad-except  # no store yet, or locked
                pass
            time.sleep(0.02)
        self.fail("no campaign was begun")


    def calls(self, log):
        try:
            with open(log, encoding="utf-8") as lines:
                return lines.read().splitlines()
        except FileNotFoundError:
            return []

    def wait_for_calls(self, log, call, count):
        """Until the driver's fake library was called so often."""
        until = time.monotonic() + 60
        while self.calls(log).count(call) < count:
            self.assertLess(time.monotonic(), until, self.calls(log))
            time.sleep(0.02)


class Matrix(FakeGpu):
    def check_rows(self, status, words):
        bad = self.rows("SELECT status, reason, median_ns FROM run JOIN cell USING (cell_id) "
                        f"WHERE key LIKE '%{BAD_CELL}%'")
        self.assertEqual([row[0] for row in bad], [status])
        self.assertIn(words, bad[0][1])
        self.assertIsNone(bad[0][2])
        good = self.rows("SELECT status, median_ns > 0 FROM run JOIN cell USING (cell_id) "
                         f"WHERE key NOT LIKE '%{BAD_CELL}%'")
        self.assertEqual(good, [("ok", 1), ("ok", 1)])

    def check_resumption(self, status):
        result = self.run_cells("", "--resume", "--retry", status)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.statuses(), sorted(["ok", "ok", "ok", status]))
        self.assertEqual(self.rows("SELECT count(*) FROM campaign"), [(1,)])

    def check(self, fault, status, words, code):
        result = self.run_cells(fault)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(f"exit {code}:", self.last_line(result))
        if code != 0:
            self.assertIn(BAD_CELL, self.last_line(result))
        self.check_rows(status, words)
        self.assert_store_is_whole()
        self.assert_no_process_is_left()
        self.check_resumption(status)

    def test_memory_that_is_not_there_after_all(self):
        result = self.run_cells("full")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.statuses(), ["ok", "ok", "oom"])
        self.assertIn("out of memory", self.rows("SELECT reason FROM run WHERE status = 'oom'")[0][0])

    def test_no_device(self):
        result = self.run_cells("absent")
        self.assertEqual(result.returncode, 5, result.stderr)
        self.assertIn("none is visible", self.last_line(result))
        self.assertFalse(os.path.exists(self.db))

    def test_several_faults_in_one_campaign(self):
        result = self.run_cells("crash@64 hang@128 wrong@256")
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertEqual(self.statuses(), ["crashed", "mismatch", "timeout"])
        self.assert_no_process_is_left()
        result = self.run_cells("", "--resume")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("nothing to do", self.last_line(result))

    def test_counters_that_cannot_be_had(self):
        command = self.command(*CELLS, "--counters", "on")
        result = subprocess.run(command, env=self.on_fake_gpu(), cwd=self.folder.name,
                                capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.statuses(), ["ok", "ok", "ok"])
        counted = self.rows("SELECT value, validity FROM value JOIN metric ON name = metric "
                            "WHERE source LIKE 'cupti:%'")
        self.assertTrue(counted)
        for value, validity in counted:
            self.assertIsNone(value)
            self.assertRegex(validity, "^(refused: |unsupported: |no CUDA driver)")


class Verify(FakeGpu):
    """Which of them are wrong numbers, and which only cells that could not be run."""
    CELL = f"rmsnorm@cuda/portable/fwd/f32/B=1,{BAD_CELL}D=256/clean-cold,plain,unlocked"

    def verify(self, fault, *words):
        command = [str(SEQMARK), "verify", "--device", "0", "-o", "jsonl", *words]
        return subprocess.run(command, env=self.on_fake_gpu(fault), cwd=self.folder.name, capture_output=True,
                              text=True, timeout=120, check=False)

    def check_cell(self, fault, code, verdict, words):
        result = self.verify(fault, "--cell", self.CELL)
        self.assertEqual(result.returncode, code, result.stderr)
        row = json.loads(result.stdout)
        self.assertEqual(row["verdict"], verdict)
        self.assertIn(words, row["reason"])

    def test_a_cell_that_ends_its_worker_is_wrong(self):
        self.check_cell("crash@128", 4, "mismatch", "signal 11")
        self.check_cell("exit@128", 4, "mismatch", "exit code 9")
        self.check_cell("sticky@128", 4, "mismatch", "illegal memory access")

    def test_a_cell_that_could_not_be_run_is_not(self):
        self.check_cell("unplanned@128", 6, "unsupported", "no room for a plan")
        self.check_cell("fail@128", 6, "unsupported", "too many resources")

    def fuzz(self, fault):
        result = self.verify(fault, "--fuzz", "8", "--op", "rmsnorm")
        kinds = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual(sum(kind["cells"] for kind in kinds), 8)
        return result, kinds

    def test_fuzz_goes_on_and_counts_what_is_wrong(self):
        for fault in ("crash", "sticky"):
            result, kinds = self.fuzz(fault)
            self.assertEqual(result.returncode, 4, result.stderr)
            self.assertEqual(sum(kind["wrong"] for kind in kinds), 8)
            self.assertEqual(result.stderr.count("wrong: the worker "), 8)

    def test_fuzz_counts_no_refusal_as_wrong(self):
        result, kinds = self.fuzz("unplanned")
        self.assertEqual(result.returncode, 6, result.stderr)
        self.assertEqual(sum(kind["wrong"] for kind in kinds), 0)
        self.assertEqual(result.stderr.count("not proved: the worker refuses: no room for a plan"), 8)

    def test_fuzz_names_the_cell_with_nan(self):
        result, kinds = self.fuzz("nan")
        self.assertEqual(result.returncode, 4, result.stderr)
        for kind in kinds:
            self.assertEqual((kind["wrong"], kind["worst_error"]), (kind["cells"], None))
            self.assertIn(f"'{kind['worst_cell']}'", result.stderr)


def add_fault_tests():
    for name, row in FAULTS.items():
        setattr(Matrix, f"test_{name}", lambda self, row=row: self.check(*row))


class Driver(FakeGpu):
    """What NVML says, refuses or does not know."""

    def test_its_numbers_are_on_the_row(self):
        result = self.run_cells("", FAKE_NVML="temperature=55 sm_mhz=1980 memory_mhz=2619 "
                                "processes=self,1 sw_power=7 driver=580.1 mig=1 ecc=1")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.value("temperature_c"), (55, "ok"))
        self.assertEqual(self.value("memory_mhz"), (2619, "ok"))
        self.assertEqual(self.value("gpu_processes"), (1, "ok"))
        self.assertEqual(self.value("throttle_sw_power_ms"), (0, "ok"))
        self.assertEqual(self.rows("SELECT driver, mig, ecc FROM environment"),
                         [("580.1", "on", "on")])

    def test_a_gpu_throttled_throughout_has_no_time(self):
        for name, reason in (("sw_thermal", "thermal slowdown by the driver for"),
                             ("hw_thermal", "thermal slowdown by the hardware for"),
                             ("hw_brake", "power brake for")):
            result = self.run_cells("", "--seqlen", "64", FAKE_NVML=f"{name}=5e8/s")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(self.rows("SELECT status, median_ns FROM run"), [("throttled", None)])
            (told,) = self.rows("SELECT reason FROM run")[0]
            self.assertIn(reason, told)
            self.assertIn(reason, self.value("dropped_samples")[1])
            self.assertGreater(self.value(f"throttle_{name}_ms")[0], 0)
            os.remove(self.db)

    def test_the_power_cap_and_a_low_clock_drop_nothing(self):
        result = self.run_cells("downclocked", "--seqlen", "64",
                                FAKE_NVML="sw_power=1e9/s below_base=1e9/s reasons=4")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.rows("SELECT status, n, sm_mhz FROM run"), [("ok", 10, 900)])
        self.assertGreater(self.value("throttle_sw_power_ms")[0], 0)
        self.assertEqual(self.rows("SELECT * FROM value WHERE metric = 'dropped_samples'"), [])

    def doctor(self, **more):
        result = subprocess.run([str(SEQMARK), "doctor", "--device", "0", "-o", "json"],
                                env=self.on_fake_gpu(**more), cwd=self.folder.name,
                                capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        return {row["check"]: row for row in json.loads(result.stdout)}

    def test_doctor_foretells(self):
        found = self.doctor(FAKE_NVML="temperature=45 processes=1 mig=1 driver=580.1")
        self.assertEqual(found["mig"]["state"], "limited")
        self.assertEqual(found["gpu processes"]["state"], "limited")
        self.assertEqual(found["counters"]["state"], "limited")  # there is no real GPU
        found = self.doctor(FAKE_NVML="temperature=45 processes=self margin=40 driver=580.1")
        self.assertEqual(found["mig"]["state"], "absent")
        self.assertEqual(found["gpu processes"]["state"], "ok")
        self.assertEqual(found["nvml"]["state"], "ok")
        found = self.doctor(SEQMARK_NVML="/nowhere/libnvidia-ml.so.1")
        self.assertEqual(found["nvml"]["state"], "limited")
        self.assertNotIn("mig", found)

    def test_absent_or_forbidden_it_costs_its_numbers_only(self):
        result = self.run_cells("", SEQMARK_NVML="/nowhere/libnvidia-ml.so.1")
        self.assertEqual(result.returncode, 0, result.stderr)
        value, validity = self.value("power_w")
        self.assertIsNone(value)
        self.assertIn("unsupported: NVML absent", validity)
        os.remove(self.db)
        result = self.run_cells("", FAKE_NVML="init=!4")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("no permission", self.value("power_w")[1])

    def test_a_hot_gpu_is_waited_for(self):
        """Longer than the timeout: the stages of the wait are signs of life. The guard looks every
        half second, so that its eighth look is behind the timeout."""
        script, log = os.path.join(self.folder.name, "nvml"), os.path.join(self.folder.name, "log")
        with open(script, "w", encoding="utf-8") as file:
            file.write("margin=4")
        process = subprocess.Popen(self.command(*CELLS, "--counters", "off"), text=True,
                                   env=self.on_fake_gpu(FAKE_NVML="@" + script,
                                                        FAKE_NVML_LOG=log),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.wait_for_calls(log, "margin", 8)
        self.assertIsNone(process.poll())
        with open(script + ".new", "w", encoding="utf-8") as file:
            file.write("margin=30")
        os.rename(script + ".new", script)
        _, stderr = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, stderr)
        (waits,) = self.rows("SELECT count(*), min(value) > 1.5 FROM value "
                             "WHERE metric = 'cooldown_s' AND validity = 'ok'")
        self.assertEqual(waits, (1, 1))
        self.assertEqual(self.statuses(), ["ok", "ok", "ok"])

    def test_energy(self):
        """The fake counter knows no load, so there is no more than idle power to be found."""
        words = ["--energy", "on", "--seqlen", "64"]
        result = self.run_cells("", *words, FAKE_NVML="energy=100000/s tick_ms=50")
        self.assertEqual(result.returncode, 0, result.stderr)
        for metric in ("idle_power_w", "load_power_w"):
            watts, validity = self.value(metric)
            self.assertEqual(validity, "ok")
            self.assertTrue(50 < watts < 200, watts)
        self.assertEqual(self.value("energy_j_per_launch"),
                         (None, "inconsistent: no more than idle power, within the error of both"))
        self.assertEqual(self.value("energy_is_hot"), (1, "ok"))

    def test_energy_without_a_counter(self):
        result = self.run_cells("", "--energy", "on")
        self.assertEqual(result.returncode, 0, result.stderr)
        value, validity = self.value("energy_j_per_token")
        self.assertIsNone(value)
        self.assertEqual(validity, "unsupported: the driver keeps no energy counter")


class Clocks(FakeGpu):
    """--lock-clocks, on the fake driver library: never on a real one."""

    def setUp(self):
        super().setUp()
        self.log = os.path.join(self.folder.name, "calls")

    def locked(self, fault, *words, script="lock=0 unlock=0 max_sm_mhz=1980"):
        return self.run_cells(fault, *words, FAKE_NVML=script, FAKE_NVML_LOG=self.log)

    def clock_calls(self):
        return [call for call in self.calls(self.log) if "lock" in call]

    def start(self, fault):
        command = self.command(*CELLS, "--counters", "off", "--lock-clocks", "1200", "--timeout",
                               "60s")
        process = subprocess.Popen(command, cwd=self.folder.name, text=True,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   env=self.on_fake_gpu(fault, FAKE_NVML="lock=0 unlock=0",
                                                        FAKE_NVML_LOG=self.log))
        self.wait_for_calls(self.log, "lock 1200 1200", 1)
        self.wait_for_campaign()
        return process

    def test_locked_while_measuring_and_then_given_back(self):
        result = self.locked("", "--lock-clocks", "1200")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.clock_calls(), ["lock 1200 1200", "unlock"])
        self.assertEqual(self.rows("SELECT DISTINCT clock_mode FROM cell"), [("locked@1200",)])
        (key,) = self.rows("SELECT key FROM cell LIMIT 1")[0]
        self.assertTrue(key.endswith("/clean-cold,plain,locked@1200"), key)
        self.assert_no_process_is_left()

    def test_the_command_that_repeats_a_run_locks_too(self):
        self.assertEqual(self.locked("", "--seqlen", "64", "--lock-clocks", "1200").returncode, 0)
        shown = subprocess.run([str(SEQMARK), "show", "1", "--repro", "--db", self.db], text=True,
                               capture_output=True, check=True).stdout
        self.assertIn(" --lock-clocks 1200", shown)
        (key,) = self.rows("SELECT key FROM cell")[0]
        command = self.command("--cell", key, "--device", "0", "--counters", "off")
        result = subprocess.run(command, capture_output=True, text=True, check=False,
                                env=self.on_fake_gpu(FAKE_NVML="lock=0 unlock=0"))
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("the cell's key says locked@1200, but this measures unlocked", result.stderr)

    def test_the_base_clock(self):
        result = self.locked("", "--lock-clocks", "base", "--seqlen", "64")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.clock_calls(), ["lock 4294967041 4294967041", "unlock"])
        self.assertEqual(self.rows("SELECT clock_mode FROM cell"), [("locked@base",)])

    def refused(self, code, words, *options, script):
        result = self.locked("", *options, script=script)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(words, self.last_line(result))
        self.assertEqual(self.clock_calls(), [])
        self.assertEqual(self.rows("SELECT count(*) FROM run"), [(0,)])
        self.assert_no_process_is_left()

    def test_what_cannot_be_locked_is_said_before_anything_is_measured(self):
        lock = ("--lock-clocks", "1200")
        self.refused(5, "lock clocks to 1200 MHz: no permission", *lock, script="lock=!4")
        self.refused(5, "lock clocks to 1200 MHz: this GPU, or this part of one, cannot", *lock,
                     script="")
        self.refused(1, "the GPU goes up to 1100 MHz", *lock, script="lock=0 max_sm_mhz=1100")
        self.refused(1, "the driver refuses (error 2)", *lock, script="lock=!2")
        self.refused(5, "NVML refused: no permission", *lock, script="init=!4")

    def test_words_that_are_no_clock(self):
        for text in ("0", "12000", "1.2GHz", "boost", "-5"):
            result = self.locked("", "--lock-clocks=" + text)
            self.assertEqual(result.returncode, 1, result.stderr)
            self.assertIn(f'not "{text}"', self.last_line(result))
        result = self.locked("", "--lock-clocks", "1200", "--profile")
        self.assertIn("--lock-clocks cannot be given beside it", self.last_line(result))
        result = self.locked("", "--device", "cpu", "--lock-clocks", "1200")
        self.assertIn("device cpu has no clocks to lock", self.last_line(result))
        self.assertEqual(self.clock_calls(), [])

    def test_given_back_after_a_crash_of_the_worker(self):
        self.assertEqual(self.locked("crash@128", "--lock-clocks", "1200").returncode, 6)
        self.assertEqual(self.clock_calls(), ["lock 1200 1200", "unlock"])

    def test_given_back_after_signals(self):
        process = self.start("hang@64")
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, stderr)
        self.assertEqual(self.clock_calls(), ["lock 1200 1200", "unlock"])
        self.assert_no_process_is_left()

    def test_given_back_when_killed(self):
        process = self.start("hang@64")
        process.kill()
        process.communicate(timeout=60)
        self.wait_for_calls(self.log, "unlock", 1)
        self.assertEqual(self.clock_calls(), ["lock 1200 1200", "unlock"])
        self.assert_no_process_is_left()

    def test_clocks_that_stay_locked_are_told(self):
        result = self.locked("", "--lock-clocks", "1200", script="lock=0 unlock=!4")
        self.assertEqual(result.returncode, 5, result.stderr)
        self.assertIn("the clocks may still be locked: unlock clocks: no permission",
                      self.last_line(result))
        self.assertEqual(self.statuses(), ["ok", "ok", "ok"])

    def test_given_back_where_the_keeper_is_killed(self):
        process = self.start("hang@64")
        workers = self.children(process.pid)
        for pid, name in workers:
            if name == "seqmark":  # the workers have a program of their own
                os.kill(pid, signal.SIGKILL)
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, stderr)
        self.assertEqual(self.clock_calls(), ["lock 1200 1200", "unlock"])

    @staticmethod
    def children(parent):
        found = []
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                text = stat.read_text()
            except OSError:
                continue
            if int(text.rsplit(")", 1)[1].split()[1]) == parent:
                found.append((int(text.split()[0]), text.split("(", 1)[1].rsplit(")", 1)[0]))
        return found


class Profile(FakeGpu):
    """One cell's page, its sustained run included."""

    CELL = ("rmsnorm@cuda/portable/fwd/f32/B=1,L=64,D=256,groups=1,weight=1,gate=none,eps=1e-05,"
            "bias=0,residual=none/clean-cold,plain,unlocked")

    def profile(self, fault):
        command = [str(SEQMARK), "profile", self.CELL, "--device", "0", "--sustain", "500ms",
                   "--timeout", "1500ms", "--db", self.db]
        return subprocess.run(command, cwd=self.folder.name, capture_output=True, text=True,
                              env=self.on_fake_gpu(fault, FAKE_NVML="power_instant=612000"),
                              timeout=120, check=False)

    def test_sustained_points_have_clock_and_watts(self):
        result = self.profile("")
        self.assertEqual(result.returncode, 0, result.stderr)
        rows = [line.split() for line in result.stdout.splitlines()]
        points = [row for row in rows if "612" in row[1:] and
                  all(re.fullmatch(r"[0-9.e+]+", word) for word in row)]
        self.assertTrue(points, result.stdout)
        self.assertEqual({point[2] for point in points}, {"1755"})
        self.assert_no_process_is_left()

    def test_a_cell_that_kills_its_worker_still_has_a_page(self):
        result = self.profile("crash")
        self.assertEqual(result.returncode, 6, result.stderr)
        self.assertIn("signal 11", self.last_line(result))
        self.assert_store_is_whole()
        self.assert_no_process_is_left()


class Signals(FakeGpu):
    def start(self, fault):
        return subprocess.Popen(self.command(*CELLS, "--counters", "off", "--min-samples", "100",
                                             "--max-samples", "100"),
                                env=self.on_fake_gpu(fault), cwd=self.folder.name,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def resume(self):
        return subprocess.run(self.command(*CELLS, "--counters", "off", "--min-samples", "100",
                                           "--max-samples", "100", "--resume"),
                              env=self.on_fake_gpu(), cwd=self.folder.name, capture_output=True,
                              text=True, timeout=120, check=False)

    def test_once_ends_after_the_run_in_flight(self):
        process = self.start("slow")
        self.wait_for_campaign()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, stderr)
        self.assertIn("exit 130: interrupted", stderr.strip().splitlines()[-1])
        self.assert_store_is_whole("interrupted")
        self.assert_no_process_is_left()
        self.assertEqual(self.resume().returncode, 0)
        self.assertEqual(self.statuses(), ["ok", "ok", "ok"])
        self.assert_store_is_whole()

    def test_twice_ends_at_once(self):
        process = self.start("hang")
        self.wait_for_campaign()
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        self.assertEqual(process.returncode, 130)
        self.assert_store_is_whole("interrupted")
        self.assert_no_process_is_left()
        self.assertEqual(self.resume().returncode, 0)
        self.assertEqual(self.statuses(), ["ok", "ok", "ok"])


if __name__ == "__main__":
    add_fault_tests()
    unittest.main(argv=sys.argv[:1])
