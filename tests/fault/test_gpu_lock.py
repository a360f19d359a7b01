#!/usr/bin/env python3
"""Two campaigns at once on one GPU, into stores of their own: the second is refused and told by whom,
the first goes on; whoever dies lets the GPU go; a process that the holder starts may use it.

usage: test_gpu_lock.py SOURCE_DIR BINARY_DIR
"""
import os
import signal
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
from campaigns import SEQMARK, SOURCE, Campaigns

CELLS = ["run", "--op", "rmsnorm", "--dtype", "f32", "--seqlen", "64,128", "--batch", "1",
         "--channels", "256", "--provider", "cuda/naive", "--device", "0", "--order", "plan"]


class GpuLock(Campaigns):
    def environment(self, mode="well", **more):
        return self.marked(SEQMARK_WORKER=str(SOURCE / "tests/fault/fake_worker.py"),
                           FAKE_WORKER=mode, FAKE_WHEN="L=64,", **more)

    def words(self, store, *more):
        return [str(SEQMARK), *CELLS, "--db", os.path.join(self.folder.name, store), *more]

    def run_it(self, store, *more, **environment):
        return subprocess.run(self.words(store, *more), env=self.environment(**environment),
                              cwd=self.folder.name, capture_output=True, text=True, timeout=120,
                              check=False)

    def start_slow(self, *more):
        """A campaign that has begun, and takes five seconds for its first cell."""
        first = subprocess.Popen(self.words("store.db", *more), env=self.environment("slow"),
                                 cwd=self.folder.name, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                if self.rows("SELECT count(*) FROM campaign") == [(1,)]:
                    return first
            except Exception:  # pylint: disable=broad-except  # no store yet, or locked
                pass
            time.sleep(0.02)
        self.fail("the campaign does not begin")

    def test_a_second_campaign_is_told_who_has_the_gpu(self):
        with self.start_slow("--label", "night 1") as first:
            second = self.run_it("other.db")
            dry = self.run_it("other.db", "--dry-run")
            _, talk = first.communicate(timeout=60)
        self.assertEqual(second.returncode, 5, second.stderr)
        last = self.last_line(second)
        self.assertIn(f"GPU 0 (Fake GPU) is in use by process {first.pid} since 20", last)
        self.assertIn("seqmark run --op rmsnorm", last)
        self.assertIn("--label 'night 1'", last)
        self.assertFalse(os.path.exists(os.path.join(self.folder.name, "other.db")))
        self.assertEqual(dry.returncode, 0, dry.stderr)  # plans on a GPU in use
        self.assertEqual(first.returncode, 0, talk)
        self.assertEqual(self.statuses(), ["ok", "ok"])
        self.assertEqual(self.run_it("other.db").returncode, 0)

    def test_a_holder_that_is_killed_holds_nothing(self):
        with self.start_slow() as first:
            first.send_signal(signal.SIGKILL)
            first.wait(timeout=30)
        result = self.run_it("other.db")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assert_no_process_is_left()

    def test_what_the_holder_starts_may_use_the_gpu(self):
        with self.start_slow() as first:
            child = self.run_it("other.db", SEQMARK_GPU_HELD="GPU-fake")
            other = self.run_it("third.db", SEQMARK_GPU_HELD="GPU-other")
            first.communicate(timeout=60)
        self.assertEqual(child.returncode, 0, child.stderr)
        self.assertEqual(other.returncode, 5, other.stderr)

    def test_a_folder_that_cannot_be_written_is_said(self):
        result = self.run_it("other.db", SEQMARK_LOCK_DIR=os.path.join(self.folder.name, "none"))
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("cannot lock: ", self.last_line(result))
        self.assertIn("seqmark-GPU-fake.lock: No such file or directory", self.last_line(result))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
