#!/usr/bin/env python3
"""Baselines: which campaigns may be one, what is kept of the program, what list warns of, what drop
removes, and what a kill or a full disk leaves. CPU only.

usage: test_baseline.py SOURCE_DIR BINARY_DIR
"""
import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
from stores import DAY, SEQMARK, TINY, Stores


class Listed(Stores):
    def listed(self):
        result = self.fine("baseline", "list", "--device", "cpu", "-o", "json")
        return {row["name"]: row for row in json.loads(result.stdout)}, result.stderr


class Baselines(Listed):
    def test_set_keeps_a_program_that_runs(self):
        said = self.fine("baseline", "set", "h100", "old").stderr
        self.assertIn("baseline h100 is campaign", said)
        rows, warnings = self.listed()
        self.assertEqual(list(rows), ["h100"])
        row = rows["h100"]
        self.assertEqual((row["label"], row["cells"], row["program"], row["differs"]),
                         ("old", 2, "kept", ""))
        self.assertNotIn("days", warnings)
        self.assertNotIn("conditions", warnings)
        tree = self.trees / self.sql("SELECT tree_hash FROM baseline")[0][0]
        self.assertEqual(self.sql("SELECT tree_path FROM baseline"),
                         [(f"seqmark.db-trees/{tree.name}",)])
        suites = self.start(["list", "suites"], self.folder, tree / "bin/seqmark")
        self.assertIn("nightly", suites.stdout)
        again = self.start([*TINY, "--label", "again"], self.folder, tree / "bin/seqmark")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.fine("compare", "baseline:h100", "again")
        self.assertEqual(self.listed()[0]["h100"]["program"], "kept")

    def test_a_name_moves_and_a_program_is_kept_once(self):
        self.fine("baseline", "set", "a", "old")
        self.fine("baseline", "set", "b", "new")
        self.assertEqual(len(list(self.trees.iterdir())), 1)
        self.fine("baseline", "set", "a", "new")
        self.assertEqual(self.listed()[0]["a"]["label"], "new")
        self.fine("baseline", "drop", "a")
        self.assertEqual(len(list(self.trees.iterdir())), 1)  # b has it still
        self.fine("baseline", "set", "b", "new", "--no-binary")
        self.assertFalse(self.trees.exists())
        self.assertEqual(self.listed()[0]["b"]["program"], "none")
        self.fine("baseline", "drop", "b")
        self.assertEqual(self.listed()[0], {})
        self.assertEqual(self.sql("SELECT count(*) FROM campaign"), [(2,)])

    def test_what_is_in_the_way_in_the_folder_stays(self):
        self.trees.mkdir()
        (self.trees / "notes.txt").write_text("mine", "utf-8")
        (self.trees / ("0" * 16)).mkdir()  # of nobody
        self.fine("baseline", "set", "a", "old")
        self.fine("baseline", "drop", "a")
        self.assertEqual([p.name for p in self.trees.iterdir()], ["notes.txt"])

    def test_the_store_and_its_programs_move_together(self):
        self.fine("baseline", "set", "a", "old")
        moved = self.folder / "archive"
        moved.mkdir()
        shutil.move(self.store, moved)
        shutil.move(self.trees, moved)
        result = self.fine("baseline", "list", "--device", "cpu", "-o", "json", "--db",
                           str(moved / "seqmark.db"))
        self.assertEqual(json.loads(result.stdout)[0]["program"], "kept")

    def test_what_cannot_be_a_baseline(self):
        self.sql("UPDATE campaign SET state = 'interrupted' WHERE label = 'new'")
        self.refused("baseline", "set", "a", "new",
                     says=["is not finished (interrupted); the nearest that can be a baseline is ",
                           " old, 20"])
        self.sql("UPDATE campaign SET state = 'running' WHERE label = 'old'")
        self.refused("baseline", "set", "a", "old",
                     says=["is not finished (running); no campaign here can be one"])
        self.sql("UPDATE campaign SET state = 'finished'")
        self.sql("UPDATE run SET median_ns = NULL WHERE campaign_id = 2")
        self.refused("baseline", "set", "a", "new", says=["has no run with a time", " old, 20"])
        self.refused("baseline", "set", "a", "odl", says=['"old"'])
        self.refused("baseline", "set", "a b", "old", says=["no name of a baseline"])
        self.refused("baseline", "set", "a/b", "old", says=["no name of a baseline"])
        self.assertFalse(self.trees.exists())
        self.sql("UPDATE campaign SET state = 'budget' WHERE label = 'old'")
        self.assertIn("ended by its budget: 2 runs have a time, 2 were planned",
                      self.fine("baseline", "set", "a", "old", "--no-binary").stderr)

    def test_a_program_that_did_not_measure_is_not_kept(self):
        self.sql("UPDATE campaign SET git_commit = 'feedc0ffee' WHERE label = 'old'")
        self.refused("baseline", "set", "a", "old",
                     says=["was measured by seqmark", "feedc0ffee", "--no-binary"])
        self.fine("baseline", "set", "a", "old", "--no-binary")

    def test_list_warns(self):
        self.fine("baseline", "set", "a", "old")
        self.sql(f"UPDATE campaign SET started = started - 40 * {DAY} WHERE label = 'old'")
        self.assertIn("baseline a was measured 40 days ago", self.listed()[1])
        self.sql(f"UPDATE campaign SET started = started + 50 * {DAY} WHERE label = 'old'")
        self.assertIn("10 days from now, by a clock that was ahead", self.listed()[1])
        self.sql("UPDATE environment SET driver = '580.65', toolkit = '12.9'")
        rows, warnings = self.listed()
        self.assertEqual(rows["a"]["differs"], "driver 580.65 (now unknown), toolkit 12.9 (now unknown)")
        self.assertIn("baseline a was measured under other conditions: driver 580.65", warnings)
        tree = next(self.trees.iterdir())
        with open(tree / "share/seqmark/suites/quick.yaml", "a", encoding="utf-8") as suite:
            suite.write("#\n")
        self.assertEqual(self.listed()[0]["a"]["program"], "changed")
        shutil.rmtree(self.trees)
        rows, warnings = self.listed()
        self.assertEqual(rows["a"]["program"], "missing")
        self.assertIn("the program kept for baseline a is missing", warnings)
        self.fine("baseline", "set", "a", "old")
        self.assertEqual(self.listed()[0]["a"]["program"], "kept")

    def test_words(self):
        self.refused("baseline", says=["set, list or drop"])
        self.refused("baseline", "sett", "a", "old", says=['"set"'])
        self.refused("baseline", "set", "a", says=["a name and a campaign"])
        self.refused("baseline", "list", "a", says=["no name"])
        self.refused("baseline", "drop", says=["one name"])
        self.refused("baseline", "list", "--no-binary", says=["belongs to baseline set"])
        self.fine("baseline", "set", "night", "old", "--no-binary")
        self.refused("baseline", "drop", "nigth", says=['did you mean "night"?'])
        self.refused("compare", "baseline:nigth", "new", says=['did you mean "night"?'])
        for form in ("table", "md", "csv", "jsonl"):
            self.assertIn("night", self.fine("baseline", "list", "-o", form).stdout)


class Faults(Listed):
    """The store is whole, and no name points at half a program."""

    def assert_whole(self):
        self.assertEqual(self.sql("PRAGMA integrity_check"), [("ok",)])
        rows, _ = self.listed()
        for row in rows.values():
            self.assertEqual(row["program"], "kept")
        return rows

    def test_killed_while_it_is_set(self):
        begun = time.monotonic()
        self.fine("baseline", "set", "a", "old")
        whole = time.monotonic() - begun
        self.fine("baseline", "drop", "a")
        draw = random.Random(6)
        killed = 0
        for _ in range(12):
            with subprocess.Popen([str(SEQMARK), "baseline", "set", "a", "new"], cwd=self.folder,
                                  stderr=subprocess.DEVNULL) as process:
                time.sleep(draw.uniform(0, whole))
                process.send_signal(signal.SIGKILL)
            killed += process.returncode == -signal.SIGKILL
            self.assert_whole()
        self.assertGreater(killed, 0)
        self.fine("baseline", "set", "a", "new")
        self.assertEqual(self.assert_whole()["a"]["label"], "new")
        self.assertEqual(len(list(self.trees.iterdir())), 1)

    def test_a_full_disk_while_it_is_set(self):
        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        self.refused("baseline", "set", "a", "old", says=["cannot write ", "File too large"],
                     preexec_fn=small_files)
        self.assertFalse(self.trees.exists())
        self.assertEqual(self.assert_whole(), {})
        self.fine("baseline", "set", "a", "old")

    def test_one_at_a_time(self):
        with subprocess.Popen([str(SEQMARK), *TINY[:-4], "--max-samples", "100000", "--max-time",
                               "60s", "--min-samples", "100000", "--replicates", "50"],
                              cwd=self.folder, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as campaign:
            while self.sql("SELECT count(*) FROM campaign") != [(3,)]:
                time.sleep(0.02)
            self.refused("baseline", "set", "a", "old",
                         says=[f"locked by another process ({campaign.pid})"])
            self.assertEqual(self.listed()[0], {})  # reading is free
            campaign.send_signal(signal.SIGKILL)
        self.fine("baseline", "set", "a", "old")
        self.refused("baseline", "set", "b", "latest", says=["is not finished (running)"])
        self.assert_whole()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
