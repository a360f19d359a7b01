#!/usr/bin/env python3
"""The store of nights: under a clock that is set back, copied and read while a night runs, pruned, and
with more nights than the rate of false alarms looks at.

usage: test_night_store.py SOURCE_DIR BINARY_DIR
"""
import contextlib
import csv
import io
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
from campaigns import BINARIES, SEQMARK
from nights import SLOW, Night

DAY = 24 * 3600
# Base and night, 5 runs of 32 cells, 2 sentinels with 5 more; 4 suspects in 10 blocks A B B A.
RUNS = 2 * 160 + 10 + 160


class NightStore(Night):
    def check_runs(self, campaigns, gates):
        self.assertEqual(self.rows("SELECT count(*), count(DISTINCT campaign_id || '.' || cell_id || "
                                   "'.' || replicate) FROM run"), [(RUNS, RUNS)])
        self.assertEqual(self.rows("SELECT count(*) FROM campaign"), [(campaigns,)])
        self.assertEqual(self.rows("SELECT exit_code FROM gate"), gates)
        self.assertEqual(self.rows("PRAGMA integrity_check"), [("ok",)])


class Clock(NightStore):
    """A clock of their own for seqmark and its workers."""

    def setUp(self):
        library = BINARIES / "tests/libset_clock.so"
        if not library.exists():
            self.skipTest("the clock that can be set is not built")
        super().setUp()
        self.clock = pathlib.Path(self.folder.name, "clock")
        self.surroundings = {"LD_PRELOAD": str(library), "FAKE_CLOCK": str(self.clock),
                             "ASAN_OPTIONS": "verify_asan_link_order=0"}

    def set_clock(self, days):
        self.clock.write_text(str(int(days * DAY)), "utf-8")

    def test_set_back_while_a_night_runs_that_is_killed_and_goes_on(self):
        self.set_clock(20)
        process = self.start("--label", "tonight", **self.SLOWED)
        self.wait_until(self.in_campaign)
        self.set_clock(-3)
        before = self.rows("SELECT count(*) FROM run")[0][0]
        self.wait_until(lambda: self.rows("SELECT count(*) FROM run")[0][0] > before + 20)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        self.assert_no_process_is_left()
        self.assertGreater(self.rows("SELECT max(r.started) - min(r.started) FROM run r JOIN campaign "
                                     "USING (campaign_id) WHERE label = 'tonight'")[0][0], 20 * DAY)
        result = self.nightly("--label", "tonight", "--resume", code=2)
        self.assertIn("4 confirmed, 28 unchanged", self.last_line(result))
        self.check_runs(campaigns=4, gates=[(2,)])
        shown = json.loads(self.must("night", "show", "latest", "-o", "json").stdout)
        self.assertIn(["label", "tonight"], [[row["field"], row["value"]] for row in shown["campaign"]])
        # The night after it began 23 days before, and is the latest.
        result = self.nightly("--label", "after", code=2)
        self.assertEqual(self.rows("SELECT label FROM campaign WHERE suite = 'small' ORDER BY turn"),
                         [("base",), ("tonight",), ("after",)])
        self.assertIn("sentinels of the last 2 nights", result.stderr)
        looked = self.seqmark("night", "gate", "latest~1", "latest")
        self.assertIn("beside latest~1: 32 unchanged", self.last_line(looked))
        (key,) = self.rows(f"SELECT key FROM cell WHERE key LIKE '%B=1,{SLOW}%'")[0]
        nights = self.must("night", "history", key, "-o", "csv").stdout
        self.assertEqual([row["label"] for row in csv.DictReader(io.StringIO(nights))],
                         ["base", "tonight", "after"])


class Copies(NightStore):
    def uuids(self, path):
        """The runs of a copy, which is whole."""
        with contextlib.closing(sqlite3.connect(path)) as copy:
            self.assertEqual(copy.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            runs = [uuid for (uuid,) in copy.execute("SELECT uuid FROM run")]
        self.assertEqual(len(runs), len(set(runs)))
        return set(runs)

    def exported(self):
        """The runs that an export lists."""
        result = self.must("night", "export")
        runs = [row["run_uuid"] for row in csv.DictReader(io.StringIO(result.stdout))]
        self.assertEqual(len(runs), len(set(runs)))
        return set(runs)

    def state(self):
        """What changes where the log is moved into the file, which a cp must not meet."""
        return os.stat(self.db).st_mtime_ns, os.path.exists(self.db + "-wal")

    def copy(self, name):
        """By seqmark, by cp of the file alone, and by cp of the file and its log: their paths."""
        paths = [os.path.join(self.folder.name, f"{name}-{kind}.db") for kind in ("export", "cp", "both")]
        self.must("night", "export", "--copy", paths[0])
        before = None
        while before != self.state():
            before = self.state()
            pathlib.Path(paths[2] + "-wal").unlink(missing_ok=True)
            for path in paths[1:]:
                subprocess.run(["cp", self.db, path], check=True)
            subprocess.run(["cp", self.db + "-wal", paths[2] + "-wal"], check=False, capture_output=True)
        return paths

    def test_copied_and_exported_while_a_night_runs(self):
        process = self.start(**self.SLOWED)
        self.addCleanup(process.kill)
        seen, copies, looks = [], [], 0
        for phase in (self.in_campaign, self.in_confirmation):
            self.wait_until(phase)
            for _ in range(3):
                before = len(self.exported())
                seen.append(self.exported())
                copies.append(self.copy(f"copy{looks}"))
                self.assertGreaterEqual(len(self.uuids(copies[-1][0])), before)
                looks += 1
        self.assertIsNone(process.poll())
        _, talk = process.communicate(timeout=300)
        self.assertEqual(process.returncode, 2, talk)
        self.check_runs(campaigns=4, gates=[(2,)])
        seen.append(self.exported())
        self.assertEqual([len(runs) for runs in seen], sorted(len(runs) for runs in seen))
        self.assertLess(len(seen[0]), len(seen[-2]))
        for earlier, later in zip(seen, seen[1:]):
            self.assertLessEqual(earlier, later)
        self.assertEqual(seen[-1], self.uuids(self.db))
        self.check_copies(copies, seen)

    def check_copies(self, copies, seen):
        for exported, (by_seqmark, bare, both) in zip(seen, copies):
            for path in (by_seqmark, both):
                self.assertLessEqual(exported, self.uuids(path))
            for path in (by_seqmark, bare, both):
                self.assertLessEqual(self.uuids(path), seen[-1])
                self.must("night", "merge", path)
        self.check_runs(campaigns=4, gates=[(2,)])
        # A copy from the middle of a night, judged elsewhere, is told the rest by the store.
        elsewhere = copies[0][0]
        result = subprocess.run([str(SEQMARK), "merge", self.db, "--db", elsewhere],
                                env=self.environment("night"), capture_output=True, text=True,
                                timeout=60, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.uuids(elsewhere), seen[-1])


class Pruned(NightStore):
    def told(self):
        """What gate and history say, but for the names of the verdicts."""
        judged = self.seqmark("night", "gate", "base", "tonight", "-o", "csv")
        rows = [{**row, "ack": ""} for row in csv.DictReader(io.StringIO(judged.stdout))]
        (key,) = self.rows(f"SELECT key FROM cell WHERE key LIKE '%B=1,{SLOW}%'")[0]
        return [judged.returncode, rows, self.must("night", "history", key, "-o", "csv").stdout,
                self.must("night", "history", "-o", "csv").stdout,
                self.must("night", "show", "tonight", "-o", "json").stdout,
                self.rows("SELECT verdict_uuid, verdict, confirmed, effect, p, q FROM v_verdict WHERE "
                          "gate = (SELECT uuid FROM gate ORDER BY gate_id LIMIT 1) ORDER BY 1")]

    def test_verdicts_are_the_same_when_the_samples_are_gone(self):
        self.nightly("--label", "tonight", code=2, setup={"L=64,D=256": 1.5}, peak={"L=64,D=512": 1.01},
                     **self.SLOWED)
        again = self.nightly("--label", "tonight", "--resume", "-o", "csv", code=2)
        with contextlib.closing(sqlite3.connect(self.db)) as store:
            store.execute("DELETE FROM baseline") # whose samples stay
            store.execute(f"UPDATE campaign SET started = started - 40 * {DAY}, turn = turn - 40 * {DAY}")
            store.commit()
        before = self.told()
        self.assertEqual({row["verdict"] for row in before[1]},
                         {"suspect_slower", "suspect_larger", "unchanged"})
        result = self.must("night", "prune", "--keep-samples", "30d")
        (runs,) = self.rows("SELECT count(*) FROM run")[0]
        self.assertIn(f"dropped: samples of {runs} runs of 4 campaigns", result.stderr)
        self.assertEqual(self.rows("SELECT count(*) FROM run WHERE samples IS NOT NULL"), [(0,)])
        self.assertEqual(self.told(), before)
        self.must("base", "baseline", "set", "main", "base", "--no-binary")
        told = self.nightly("--label", "tonight", "--resume", "-o", "csv", code=2)
        self.assertEqual(told.stdout, again.stdout)


class ManyNights(NightStore):
    def add_nights(self, sentinels, alarms, count, age, suite="small", judged=1):
        """Nights of the past, `age` days ago and earlier, each judged so many times."""
        with contextlib.closing(sqlite3.connect(self.db)) as store:
            for night in range(count):
                store.execute(
                    "INSERT INTO campaign(uuid, suite, label, plan_hash, argv, version, git_commit, "
                    "git_dirty, seed, planned, env_id, device_id, started, ended, state, policy, turn) "
                    "SELECT lower(hex(randomblob(16))), ?1, '', plan_hash, argv, version, git_commit, "
                    "git_dirty, seed, planned, env_id, device_id, started - ?2, ended - ?2, state, "
                    "policy, turn - ?2 FROM campaign WHERE campaign_id = 1", (suite, (age + night) * DAY))
                for k in range(judged):
                    store.execute(
                        "INSERT INTO gate(uuid, campaign_id, baseline_id, baseline_name, judged, "
                        "version, git_commit, settings, exit_code, why, sentinels, sentinel_alarms, "
                        "controls) VALUES (lower(hex(randomblob(16))), (SELECT max(campaign_id) FROM "
                        "campaign), 1, 'main', 0, '', '', '{}', 0, '', ?1, ?2, 0)",
                        (sentinels, alarms if k + 1 == judged else sentinels))
            store.commit()

    def test_the_rate_is_that_of_the_last_thirty_nights(self):
        self.add_nights(10, 1, 20, 1)              # what counts: 20 and 9 with tonight's
        self.add_nights(10, 0, 9, 21, judged=2)    # by their last gates
        self.add_nights(10, 10, 15, 30)            # older
        self.add_nights(10, 10, 5, 1, suite="other")
        result = self.nightly(code=0)
        self.assertIn("false alarms: 20 of 292 sentinels of the last 30 nights (6.85 %, 95 % interval "
                      "4.23 to 10.38)", result.stderr)
        self.assertEqual(self.rows("SELECT count(*) FROM gate"), [(20 + 18 + 15 + 5 + 1,)])
        # Tomorrow the oldest of the thirty is gone.
        result = self.nightly(code=0)
        self.assertIn("false alarms: 20 of 284 sentinels of the last 30 nights", result.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
