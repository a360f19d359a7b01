"""What the tests of whole campaigns share: a folder with a store, and a look at the processes."""
import os
import pathlib
import sqlite3
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(sys.argv[1])
BINARIES = pathlib.Path(sys.argv[2])
SEQMARK = BINARIES / "seqmark"
WORKER = BINARIES / "tests/seqmark_fake_worker"
NVML = BINARIES / "tests/libfake_nvml.so"


class Campaigns(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.db = os.path.join(self.folder.name, "store.db")
        os.environ["SEQMARK_LOCK_DIR"] = self.folder.name  # the fake GPU of other tests is another

    def tearDown(self):
        self.folder.cleanup()

    def command(self, *words):
        return [str(SEQMARK), "run", "--db", self.db, *words]

    def marked(self, **more):
        """An environment by which ours() knows every process that descends from a command."""
        return {**os.environ, "SEQMARK_TEST": self.folder.name, **more}

    def on_fake_gpu(self, fault="", **more):
        """Such an environment, of a GPU with this fault (tests/support/fake_backend.h) and its driver."""
        return self.marked(SEQMARK_WORKER=str(WORKER), FAKE_GPU=fault,
                           SEQMARK_NVML=more.pop("SEQMARK_NVML", str(NVML)), **more)

    def ours(self):
        mark = f"SEQMARK_TEST={self.folder.name}".encode()
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes().split(b"\0"):
                    found.append(path.parent.name)
            except OSError:
                pass
        return found

    def assert_no_process_is_left(self):
        until = time.monotonic() + 20
        while self.ours() and time.monotonic() < until:
            time.sleep(0.02)
        self.assertEqual(self.ours(), [])

    def rows(self, sql):
        db = sqlite3.connect(self.db)
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()

    def statuses(self):
        return sorted(s for (s,) in self.rows("SELECT status FROM run"))

    def last_line(self, result):
        return result.stderr.strip().splitlines()[-1]
