"""What the tests of whole nights share: campaigns of fake_night.py, told what has changed."""
import json
import os
import pathlib
import stat
import subprocess
import sys
import time

from campaigns import SEQMARK, SOURCE, Campaigns

FAKE = SOURCE / "tests/fault/fake_night.py"
# 32 cells of one operator: enough for the night's control.
CELLS = ["--op", "rmsnorm", "--provider", "cuda/portable", "--seqlen", "64..512*2", "--batch",
         "1..8*2", "--channels", "256,512", "--device", "0"]

SLOW = "L=128,D=512"  # four cells
SUITE = """name: small
description: 32 cells
replicates: 5
counters: basic
allow-failed: 0
cells:
  - {on: cuda, op: rmsnorm, provider: cuda/portable, seqlen: "64..512*2", batch: "1..8*2",
     channels: [256, 512]}
"""


class Nights(Campaigns):
    surroundings = {} # of every program that is started, beside os.environ

    def tell(self, name, **night):
        path = os.path.join(self.folder.name, name + ".json")
        pathlib.Path(path).write_text(json.dumps(night), encoding="utf-8")
        return path

    def environment(self, name, **more):
        return self.marked(**{"SEQMARK_WORKER": str(FAKE),
                              "NIGHT": os.path.join(self.folder.name, name + ".json"),
                              "FAKE_LOG": os.path.join(self.folder.name, "log"),
                              **self.surroundings, **more})

    def seqmark(self, name, verb, *words, **more):
        return subprocess.run([str(SEQMARK), verb, *words, "--db", self.db],
                              env=self.environment(name, **more), cwd=self.folder.name,
                              capture_output=True, text=True, timeout=300, check=False)

    def measure(self, label, *words, **night):
        """A campaign of five replicates on which `night` is so."""
        self.tell(label, **night)
        return self.seqmark(label, "run", *CELLS, "--replicates", "5", "--counters", "basic",
                            "--label", label, *words)

    def requests(self):
        path = os.path.join(self.folder.name, "log")
        with open(path, encoding="utf-8") as log:
            return [json.loads(line) for line in log]


class Night(Nights):
    """A baseline `main`; its kept program is a worker on which everything is as it was."""

    SLOWED = {"times": {SLOW: 1.03}, "hash": {SLOW: "b" * 16}, "seconds": {"": 0.02}}
    keeps_program = True

    def setUp(self):
        super().setUp()
        self.suite = os.path.join(self.folder.name, "small.yaml")
        pathlib.Path(self.suite).write_text(SUITE, encoding="utf-8")
        self.tell("base")
        self.must("base", "run", "--suite", self.suite, "--device", "0", "--label", "base")
        self.keep(*([] if self.keeps_program else ["--no-binary"]))
        self.tell("night")

    def must(self, *words, **more):
        result = self.seqmark(*words, **more)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def keep(self, *words):
        """The kept worker has a script of its own, whatever tonight's is told."""
        worker = os.path.join(self.folder.name, "worker")
        told = os.path.join(self.folder.name, "base.json")
        pathlib.Path(worker).write_text(f"#!/bin/sh\nNIGHT='{told}' exec '{sys.executable}' "
                                        f"'{FAKE}'\n", encoding="utf-8")
        os.chmod(worker, os.stat(worker).st_mode | stat.S_IXUSR)
        self.must("base", "baseline", "set", "main", "base", *words, SEQMARK_WORKER=worker)

    def words(self, *words):
        return ["--suite", self.suite, "--device", "0", "--baseline", "main", *words]

    def nightly(self, *words, code, **night):
        if night:
            self.tell("night", **night)
        result = self.seqmark("night", "nightly", *self.words(*words))
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(f"seqmark: exit {code}: ", self.last_line(result))
        return result

    def start(self, *words, **night):
        if night:
            self.tell("night", **night)
        return subprocess.Popen([str(SEQMARK), "nightly", "--db", self.db, *self.words(*words)],
                                env=self.environment("night"), cwd=self.folder.name,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def wait_until(self, condition):
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                if condition():
                    return
            except Exception:  # pylint: disable=broad-except  # the store is locked, or not there yet
                pass
            time.sleep(0.02)
        self.fail("it does not come to pass")

    def confirmed(self):
        return dict(self.rows("SELECT confirmed, count(*) FROM v_verdict WHERE confirmed <> '' "
                              "GROUP BY 1"))

    def in_campaign(self):
        return self.rows("SELECT count(*) FROM run JOIN campaign USING (campaign_id) "
                         "WHERE suite = 'small' AND label <> 'base'")[0][0] > 20

    def in_confirmation(self):
        return self.rows("SELECT count(*) FROM run JOIN campaign USING (campaign_id) "
                         "WHERE suite = 'confirm'")[0][0] > 20
