#!/usr/bin/env python3
"""Merging stores: everything comes, nothing twice, whatever the other store is (a copy, a copy from the
middle of a campaign, a live one, an older one), and a kill leaves all of it or nothing.

usage: test_merge.py SOURCE_DIR BINARY_DIR
"""
import json
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
from stores import SEQMARK, TINY, Stores

# Rows by what they mean: every id is replaced by the name of what it points to.
NAMES = {
    "device_id": "(SELECT uuid FROM device x WHERE x.device_id = t.{0})",
    "env_id": "(SELECT fingerprint FROM environment x WHERE x.env_id = t.{0})",
    "campaign_id": "(SELECT uuid FROM campaign x WHERE x.campaign_id = t.{0})",
    "baseline_id": "(SELECT uuid FROM campaign x WHERE x.campaign_id = t.{0})",
    "rerun_id": "(SELECT uuid FROM campaign x WHERE x.campaign_id = t.{0})",
    "baseline_rerun_id": "(SELECT uuid FROM campaign x WHERE x.campaign_id = t.{0})",
    "cell_id": "(SELECT key FROM cell x WHERE x.cell_id = t.{0})",
    "run_id": "(SELECT uuid FROM run x WHERE x.run_id = t.{0})",
    "gate_id": "(SELECT uuid FROM gate x WHERE x.gate_id = t.{0})",
    "verdict_id": "(SELECT uuid FROM verdict x WHERE x.verdict_id = t.{0})",
    "acknowledgement_id": "(SELECT uuid FROM acknowledgement x WHERE x.acknowledgement_id = t.{0})",
}
TO_VERSION_2 = """
    DROP VIEW v_verdict; DROP VIEW v_baseline; DROP TABLE acknowledgement; DROP TABLE verdict;
    DROP TABLE gate; ALTER TABLE campaign DROP COLUMN turn; ALTER TABLE baseline DROP COLUMN tree_hash;
    ALTER TABLE baseline DROP COLUMN made; ALTER TABLE baseline RENAME COLUMN tree_path TO binary_path;
    PRAGMA user_version = 2"""


def meaning(path):
    """{table: its rows, sorted}; without where programs are kept, which is beside each store."""
    db = sqlite3.connect(path)
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' "
                                             "AND name NOT LIKE 'sqlite_%'")]
    found = {}
    for table in tables:
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")
                   if row[1] not in ("tree_path", "tree_hash")]
        chosen = ", ".join(NAMES.get(c, "t.{0}").format(c) for c in columns)
        found[table] = sorted(db.execute(f"SELECT {chosen} FROM {table} t").fetchall(), key=repr)
    db.close()
    return found


class Merge(Stores):
    def setUp(self):
        super().setUp()
        self.other = self.folder / "other.db"

    def merged(self, *files, into="seqmark.db"):
        rows = json.loads(self.fine("merge", *map(str, files), "--db", into, "-o", "json").stdout)
        db = sqlite3.connect(self.folder / into)
        self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        self.assertEqual(db.execute("PRAGMA foreign_key_check").fetchall(), [])
        db.close()
        return rows

    def judge(self):
        """A judging with a verdict that is still to be confirmed, an answer, a baseline, a ceiling."""
        self.sql("INSERT INTO gate VALUES(7, 'g', 2, 1, 'h100', NULL, NULL, 1, '1', 'c', '{}', NULL, "
                 "'', 1, 0, 2, 0.1, NULL, NULL)")
        self.sql("INSERT INTO verdict VALUES(9, 'v', 7, 2, 'time', 'cell', 'suspect_slower', 0.05, "
                 "0.04, 0.06, 1e-9, 1e-6, 0.01, 0.005, 5, 5, 8, 'pending', '', 1)")
        self.sql("INSERT INTO acknowledgement VALUES(3, 'a', 9, 'flake', 'noise', 5.0, 'me', 4.0)")
        self.sql("INSERT INTO ceiling VALUES(2, 'copy', 1, 1, 'GB/s', 1, 0.9, 1.1, NULL)")
        self.sql("INSERT INTO kernel VALUES(1, 0, 'k', 5, '1x1x1', '32x1x1', 8, 0, '_k')")
        self.fine("baseline", "set", "h100", "old", "--no-binary")

    def test_everything_comes_and_nothing_twice(self):
        self.judge()
        for table in ("acknowledgement", "ceiling", "kernel", "value", "check_result", "cell_axis"):
            self.assertNotEqual(self.sql(f"SELECT count(*) FROM {table}"), [(0,)], table)
        row = self.merged(self.store, into="new.db")[0]
        self.assertEqual((row["campaigns"], row["runs"], row["known_runs"], row["verdicts"],
                          row["answers"], row["baselines"]), (2, 4, 0, 1, 1, 1))
        everything = meaning(self.store)
        self.assertEqual(meaning(self.folder / "new.db"), everything)
        for file in (self.store, self.folder / "new.db", self.store):
            row = self.merged(file, into="new.db")[0]
            self.assertEqual((row["campaigns"], row["runs"], row["known_runs"], row["verdicts"],
                              row["answers"], row["baselines"]), (0, 0, 4, 0, 0, 0))
        self.assertEqual(meaning(self.folder / "new.db"), everything)
        self.assertEqual(self.merged(self.store)[0]["known_runs"], 4)  # into itself
        self.assertEqual(meaning(self.store), everything)

    def test_two_machines(self):
        shutil.copy(self.store, self.other)
        first = self.start([*TINY, "--label", "here"], self.folder)
        second = self.start([*TINY, "--label", "there", "--db", "other.db"], self.folder)
        self.assertEqual((first.returncode, second.returncode), (0, 0))
        row = self.merged("other.db")[0]
        self.assertEqual((row["campaigns"], row["runs"], row["known_runs"]), (1, 2, 4))
        self.merged("seqmark.db", into="other.db")
        self.assertEqual(meaning(self.store), meaning(self.other))
        self.assertEqual(self.sql("SELECT count(*) FROM campaign"), [(4,)])
        self.fine("compare", "here", "there")

    def test_a_copy_from_the_middle_of_a_campaign(self):
        words = [*TINY, "--label", "long", "--replicates", "12", "--db", str(self.store)]
        with subprocess.Popen([str(SEQMARK), *words], cwd=self.folder, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as campaign:
            while self.sql("SELECT count(*) FROM run") < [(8,)]:
                time.sleep(0.01)
            self.fine("export", "--copy", "other.db")
            self.merged(self.store, into="live.db")  # a live store, as it is now
            campaign.wait(timeout=120)
        self.assertEqual(campaign.returncode, 0)
        whole = meaning(self.store)
        self.assertEqual(len(whole["run"]), 28)
        for part in ("other.db", "live.db"):
            db = sqlite3.connect(self.folder / part)
            (n,), = db.execute("SELECT count(*) FROM run").fetchall()
            db.close()
            self.assertTrue(8 <= n < 28, n)
            row = self.merged(part)[0]
            self.assertEqual((row["campaigns"], row["runs"], row["known_runs"]), (0, 0, n))
            self.assertEqual(meaning(self.store), whole)
            row = self.merged(self.store, into=part)[0]
            self.assertEqual((row["runs"], row["known_runs"]), (28 - n, n))
            self.assertEqual(meaning(self.folder / part), whole)  # its state and end, too

    def test_a_campaign_that_was_resumed_in_both(self):
        words = [*TINY, "--label", "both", "--replicates", "6", "--seed", "1"]
        self.fine(*words)
        self.sql("UPDATE campaign SET state = 'interrupted' WHERE label = 'both'")
        self.sql("DELETE FROM run WHERE replicate >= 2")
        shutil.copy(self.store, self.other)
        self.fine(*words, "--resume")
        self.fine(*words, "--resume", "--db", "other.db")
        result = self.fine("merge", "other.db", "-o", "json")
        row = json.loads(result.stdout)[0]
        self.assertEqual((row["runs"], row["known_runs"], row["renumbered"]), (8, 8, 8))
        self.assertIn("8 replicates were measured in both stores", result.stderr)
        self.assertEqual(self.sql("SELECT attempt, count(*) FROM run JOIN campaign USING (campaign_id) "
                                  "WHERE label = 'both' GROUP BY 1 ORDER BY 1"), [(0, 12), (1, 8)])
        self.assertEqual(self.merged("other.db")[0]["runs"], 0)
        rows = self.fine("compare", "both", "old", "-o", "json").stdout
        self.assertEqual([c["runs_a"] for c in json.loads(rows)["cells"]], [6, 6])  # none twice

    def test_what_was_judged_since_the_copy(self):
        self.judge()
        shutil.copy(self.store, self.other)
        self.sql("UPDATE gate SET exit_code = 2, why = 'regression', rerun_id = 2")
        self.sql("UPDATE verdict SET confirmed = 'confirmed'")
        self.merged(self.store, into="other.db")
        self.assertEqual(meaning(self.other), meaning(self.store))
        shutil.copy(self.other, self.folder / "older.db")
        db = sqlite3.connect(self.folder / "older.db")
        db.execute("UPDATE gate SET exit_code = NULL")
        db.execute("UPDATE verdict SET confirmed = 'pending'")
        db.commit()
        db.close()
        self.merged("older.db")  # does not take anything back
        self.assertEqual(meaning(self.other), meaning(self.store))

    def test_a_name_that_is_taken_stays(self):
        shutil.copy(self.store, self.other)
        self.fine("baseline", "set", "h100", "old", "--no-binary")
        self.fine("baseline", "set", "h100", "new", "--db", "other.db")
        self.fine("baseline", "set", "only", "new", "--db", "other.db")
        result = self.fine("merge", "other.db")
        self.assertIn("1 baseline means another campaign here, and stays so", result.stderr)
        self.assertIn("the programs kept for its baselines stay beside it", result.stderr)
        self.assertEqual(self.sql("SELECT b.name, label, tree_path FROM baseline b JOIN campaign "
                                  "USING (campaign_id) ORDER BY 1"),
                         [("h100", "old", ""), ("only", "new", "")])

    def test_an_older_store(self):
        """Also where two campaigns began within a second of the clock."""
        self.sql("UPDATE campaign SET started = (SELECT min(started) FROM campaign)")
        self.sql("UPDATE campaign SET turn = round(started + 0.001 * (campaign_id - 1), 3)")
        shutil.copy(self.store, self.other)
        db = sqlite3.connect(self.other)
        db.executescript(TO_VERSION_2)
        db.close()
        before = self.other.read_bytes()
        self.assertEqual(self.merged("other.db", into="new.db")[0]["runs"], 4)
        self.assertEqual(self.other.read_bytes(), before)
        self.assertEqual(meaning(self.folder / "new.db"), meaning(self.store))

    def test_refusals(self):
        everything = meaning(self.store)
        self.refused("merge", says=["takes the stores"])
        self.refused("merge", "none.db", says=["none.db: No such file"])
        (self.folder / "text.db").write_text("no store" * 100, "utf-8")
        self.refused("merge", "text.db", says=["not a SQLite database"])
        self.refused("merge", "seqmark.db", "-o", "jsno", says=["json"])
        self.assertEqual(meaning(self.store), everything)

    def test_killed_while_it_merges(self):
        for i in range(60):
            self.sql("INSERT INTO campaign SELECT NULL, 'u' || hex(randomblob(8)), suite, 'x', "
                     "plan_hash, argv, version, git_commit, git_dirty, seed, planned, env_id, "
                     f"device_id, started + {i}, ended, state, policy, turn FROM campaign "
                     "WHERE campaign_id = 1")
        self.sql("INSERT INTO run SELECT NULL, hex(randomblob(16)), c.campaign_id, cell_id, r.env_id, "
                 "r.device_id, replicate, attempt, status, reason, r.started, harness_version, "
                 "kernel_hash, n, median_ns, lo_ns, hi_ns, min_ns, mad_ns, cycles, sm_mhz, setup_ns, "
                 "peak_bytes, randomblob(40000), versions, checksum FROM campaign c, run r "
                 "WHERE c.label = 'x' AND r.campaign_id = 1")
        everything = meaning(self.store)
        begun = time.monotonic()
        self.merged(self.store, into="new.db")
        whole = time.monotonic() - begun
        self.assertEqual(meaning(self.folder / "new.db"), everything)
        shutil.copy(pathlib.Path(self.shared.name) / "seqmark.db", self.other)
        few = meaning(self.other)
        draw = random.Random(6)
        seen = set()
        for _ in range(10):
            shutil.copy(pathlib.Path(self.shared.name) / "seqmark.db", self.other)
            with subprocess.Popen([str(SEQMARK), "merge", "seqmark.db", "--db", "other.db"],
                                  cwd=self.folder, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) as process:
                time.sleep(draw.uniform(0, whole))
                process.send_signal(signal.SIGKILL)
            self.fine("show", "old", "--db", "other.db")  # whoever reads next
            now = meaning(self.other)
            self.assertIn(now, (few, everything))
            seen.add(len(now["run"]))
        self.merged(self.store, into="other.db")
        self.assertEqual(meaning(self.other), everything)
        self.assertIn(len(few["run"]), seen)
        self.assertEqual(meaning(self.store), everything)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
