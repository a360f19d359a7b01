#!/usr/bin/env python3
"""A clock that was ahead and is set back: campaigns that end before they began, and newer ones that
began before older ones. What was stored last is still the latest.

usage: test_clock.py SOURCE_DIR BINARY_DIR
"""
import json
import sys
import unittest

sys.dont_write_bytecode = True
from stores import DAY, TINY, Stores


class Clock(Stores):
    def setUp(self):
        """"new" was begun when the clock was 20 days ahead, and ended after it was mended."""
        super().setUp()
        self.sql(f"UPDATE campaign SET started = started + 20 * {DAY}, turn = turn + 20 * {DAY} "
                 "WHERE label = 'new'")
        self.sql(f"UPDATE run SET started = started + 20 * {DAY} WHERE campaign_id = 2")
        self.assertEqual(self.sql("SELECT label FROM campaign WHERE ended < started"), [("new",)])

    def latest(self):
        shown = json.loads(self.fine("show", "latest", "-o", "json").stdout)
        return {row["field"]: row["value"] for row in shown["campaign"]}["label"]

    def test_the_latest_is_what_was_stored_last(self):
        self.assertEqual(self.latest(), "new")
        self.fine(*TINY, "--label", "newer")
        self.assertEqual(self.latest(), "newer")
        self.fine("compare", "latest~2", "latest")
        rows = self.fine("compare", "latest", "latest~1", "-o", "json").stdout
        self.assertEqual(len(json.loads(rows)["cells"]), 2)
        key = json.loads(rows)["cells"][0]["key"]
        run = json.loads(self.fine("show", key, "-o", "json").stdout)
        self.assertIn('"newer"', json.dumps(run))
        started = self.sql("SELECT started < (SELECT started FROM campaign WHERE label = 'new') "
                           "FROM campaign WHERE label = 'newer'")
        self.assertEqual(started, [(1,)])  # what the clock said is not changed

    def test_resume_goes_on_with_the_newest(self):
        self.fine(*TINY, "--label", "newer", "--seed", "7")
        self.sql("UPDATE campaign SET state = 'interrupted'")
        self.sql("DELETE FROM run WHERE cell_id = 1")
        self.assertIn("1 of 2 runs are left", self.fine(*TINY, "--resume", "--seed", "7").stderr)
        self.assertEqual(self.sql("SELECT label FROM campaign WHERE state = 'finished'"), [("newer",)])

    def test_everything_that_reads_goes_on(self):
        self.fine("report", "--out", str(self.folder / "out"))
        self.fine("export", "-o", "csv")
        self.fine("history", "--html", str(self.folder / "history"))
        self.fine("baseline", "set", "ahead", "new", "--no-binary")
        self.assertIn("by a clock that was ahead",
                      self.fine("baseline", "list", "--device", "cpu").stderr)
        self.fine("prune", "--keep-samples", "30d")
        self.assertEqual(self.sql("SELECT count(*) FROM run WHERE samples IS NULL"), [(0,)])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
