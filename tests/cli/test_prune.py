#!/usr/bin/env python3
"""Pruning: which samples go, what stays, what a dry run says, and what a kill or a full disk leaves.

usage: test_prune.py SOURCE_DIR BINARY_DIR
"""
import json
import random
import resource
import signal
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
from stores import DAY, SEQMARK, Stores

EVERYTHING_ELSE = """
    SELECT r.uuid, r.n, r.median_ns, r.lo_ns, r.hi_ns, r.min_ns, r.mad_ns, r.cycles, r.setup_ns,
           r.checksum, r.kernel_hash, r.status, (SELECT count(*) FROM value v WHERE v.run_id = r.run_id),
           (SELECT count(*) FROM check_result k WHERE k.run_id = r.run_id) FROM run r ORDER BY r.run_id"""


class Prune(Stores):
    def setUp(self):
        """"old" is 40 days old, and the samples are most of the store."""
        super().setUp()
        self.sql(f"UPDATE campaign SET started = started - 40 * {DAY}, turn = turn - 40 * {DAY} "
                 "WHERE label = 'old'")
        self.sql("UPDATE run SET n = 300000, samples = randomblob(1200000)")

    def with_samples(self):
        return {label for (label,) in self.sql("SELECT DISTINCT label FROM run JOIN campaign "
                                               "USING (campaign_id) WHERE samples IS NOT NULL")}

    def test_old_samples_go_and_nothing_else(self):
        before, size = self.sql(EVERYTHING_ELSE), self.store.stat().st_size
        compared = self.fine("compare", "old", "new", "-o", "csv", "--bootstrap", "0").stdout
        said = self.fine("prune", "--keep-samples", "30d").stderr
        self.assertIn("dropped: samples of 2 runs of 1 campaign before 20", said)
        self.assertEqual(self.with_samples(), {"new"})
        self.assertEqual(self.sql(EVERYTHING_ELSE), before)
        self.assertLess(self.store.stat().st_size, 0.6 * size)
        again = self.fine("compare", "old", "new", "-o", "csv", "--bootstrap", "0").stdout
        self.assertEqual([line.split(",")[:20] for line in again.splitlines()],
                         [line.split(",")[:20] for line in compared.splitlines()])
        self.fine("compare", "old", "new", "-o", "json")  # its bootstrap has nothing to draw from
        self.fine("show", "old")
        self.fine("report", "--out", str(self.folder / "out"))
        self.assertIn("samples of 0 runs of 0 campaigns",
                      self.fine("prune", "--keep-samples", "30d").stderr)

    def test_a_dry_run_says_what_would_go(self):
        before = self.store.read_bytes()
        result = self.fine("prune", "--keep-samples", "30d", "--dry-run", "-o", "json")
        rows = json.loads(result.stdout)
        self.assertEqual([(r["label"], r["runs"], r["bytes"]) for r in rows], [("old", 2, 2400000)])
        self.assertIn("would go: samples of 2 runs of 1 campaign", result.stderr)
        self.assertEqual(self.store.read_bytes(), before)
        for form in ("table", "md", "csv", "jsonl"):
            self.assertIn("old", self.fine("prune", "--keep-samples", "30d", "--dry-run", "-o",
                                           form).stdout)
        self.assertEqual(len(json.loads(self.fine("prune", "--keep-samples", "0h", "--dry-run", "-o",
                                                  "json").stdout)), 2)

    def test_baselines_keep_theirs(self):
        self.fine("baseline", "set", "h100", "old", "--no-binary")
        self.assertIn("samples of 0 runs", self.fine("prune", "--keep-samples", "30d").stderr)
        self.fine("baseline", "drop", "h100")
        self.assertIn("samples of 2 runs", self.fine("prune", "--keep-samples", "30d").stderr)

    def test_a_clock_set_back_makes_nothing_old(self):
        self.sql("UPDATE campaign SET started = 86400")  # 1970
        self.fine("prune", "--keep-samples", "30d")
        self.assertEqual(self.with_samples(), {"new"})  # by its turn

    def test_refusals(self):
        self.refused("prune", says=["needs --keep-samples"])
        self.refused("prune", "--keep-samples", "30", says=["a time with its unit"])
        self.refused("prune", "--keep-samples", "month", says=["a time with its unit"])
        self.refused("prune", "--keep-samples", "30d", "old", says=['"old"'])
        self.refused("prune", "--keep-samples", "30d", "-o", "json", says=["belongs to --dry-run"])
        for words in (["prune", "--keep-samples", "30d"], ["ack", "a", "--reason", "b"],
                      ["baseline", "drop", "a"]):
            self.refused(*words, "--db", "none.db", says=["none.db: No such file"])
        self.assertFalse((self.folder / "none.db").exists())
        self.assertEqual(self.with_samples(), {"old", "new"})

    def test_killed_while_it_prunes(self):
        before = self.sql(EVERYTHING_ELSE)
        original = self.store.read_bytes()
        begun = time.monotonic()
        self.fine("prune", "--keep-samples", "30d")
        whole = time.monotonic() - begun
        draw = random.Random(6)
        for _ in range(12):
            self.store.write_bytes(original)
            with subprocess.Popen([str(SEQMARK), "prune", "--keep-samples", "30d"], cwd=self.folder,
                                  stderr=subprocess.DEVNULL) as process:
                time.sleep(draw.uniform(0, whole))
                process.send_signal(signal.SIGKILL)
            self.fine("show", "old")  # whoever reads next
            self.assertEqual(self.sql("PRAGMA integrity_check"), [("ok",)])
            self.assertEqual(self.sql(EVERYTHING_ELSE), before)
            self.assertIn(self.with_samples(), ({"old", "new"}, {"new"}))
            self.assertEqual(self.sql("SELECT count(*) FROM run WHERE samples IS NOT NULL "
                                      "AND length(samples) <> 4 * n"), [(0,)])
        self.fine("prune", "--keep-samples", "30d")
        self.assertEqual(self.with_samples(), {"new"})

    def test_a_full_disk_while_it_prunes(self):
        def small_files(limit):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        self.refused("prune", "--keep-samples", "30d", preexec_fn=lambda: small_files(4096))
        self.assertEqual(self.with_samples(), {"old", "new"})
        # Now the drop has room, and the copy that shrinks the file has not: what it would save is
        # less than what its journal takes beside the pages.
        self.sql("UPDATE run SET n = 1000, samples = randomblob(4000) WHERE campaign_id = 1")
        self.sql("UPDATE run SET n = 2500000, samples = randomblob(10000000) WHERE campaign_id = 2")
        self.sql("VACUUM")
        before, size = self.sql(EVERYTHING_ELSE), self.store.stat().st_size
        self.refused("prune", "--keep-samples", "30d", preexec_fn=lambda: small_files(size),
                     says=["the samples are dropped, but the file keeps its size"])
        self.assertEqual(self.with_samples(), {"new"})
        self.assertEqual(self.sql("PRAGMA integrity_check"), [("ok",)])
        self.assertEqual(self.sql(EVERYTHING_ELSE), before)
        self.fine("prune", "--keep-samples", "30d")
        self.assertLess(self.store.stat().st_size, size)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
