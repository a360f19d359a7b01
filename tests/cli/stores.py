"""What the tests of stores share: a folder with a copy of a store, and the program run in it."""
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import unittest

SEQMARK = pathlib.Path(sys.argv[2]) / "seqmark"
TINY = ["run", "--op", "rmsnorm", "--dtype", "f32", "--seqlen", "8,16", "--channels", "8",
        "--device", "cpu", "--max-samples", "10", "--warmup-time", "1ms", "--max-interval", "1e9"]
DAY = 24 * 3600


class Stores(unittest.TestCase):
    """Each test has a copy of a store with two campaigns, "old" and "new"."""

    @classmethod
    def setUpClass(cls):
        cls.shared = tempfile.TemporaryDirectory()
        for label in ("old", "new"):
            result = cls.start([*TINY, "--label", label], cls.shared.name)
            assert result.returncode == 0, result.stderr

    @classmethod
    def tearDownClass(cls):
        cls.shared.cleanup()

    @staticmethod
    def start(words, folder, program=SEQMARK, **more):
        environment = {**os.environ, "SEQMARK_WORKER": "/nowhere/seqmark-worker"}
        return subprocess.run([str(program), *words], cwd=folder, env=environment, text=True,
                              capture_output=True, timeout=300, check=False, **more)

    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.holder.name)
        self.store = self.folder / "seqmark.db"
        self.trees = self.folder / "seqmark.db-trees"
        shutil.copy(pathlib.Path(self.shared.name) / "seqmark.db", self.store)

    def tearDown(self):
        self.holder.cleanup()

    def fine(self, *words, **more):
        result = self.start(words, self.folder, **more)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def refused(self, *words, says=(), **more):
        result = self.start(words, self.folder, **more)
        self.assertEqual(result.returncode, 1, result.stderr)
        for text in says:
            self.assertIn(text, result.stderr.strip().splitlines()[-1])
        return result

    def sql(self, text):
        db = sqlite3.connect(self.store)
        db.execute("PRAGMA foreign_keys = ON")
        rows = db.execute(text).fetchall()
        db.commit()
        db.close()
        return rows
