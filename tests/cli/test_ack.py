#!/usr/bin/env python3
"""Answers to verdicts: given, replaced, taken back, listed, refused, and whole after a kill.

usage: test_ack.py SOURCE_DIR BINARY_DIR
"""
import json
import random
import signal
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
from stores import DAY, SEQMARK, Stores

FIRST, SECOND = "aaaa1111-0000-4000-8000-000000000000", "bbbb2222-0000-4000-8000-000000000000"


class Acks(Stores):
    def setUp(self):
        super().setUp()
        self.sql("INSERT INTO gate VALUES(1, 'g', 2, 1, 'h100', NULL, NULL, 1, '1', 'c', '{}', 2, "
                 "'regression', 0, 0, 0, NULL, NULL, NULL)")
        for i, (uuid, metric) in enumerate([(FIRST, "time"), (SECOND, "cycles")]):
            self.sql(f"INSERT INTO verdict VALUES({i + 1}, '{uuid}', 1, 1, '{metric}', 'cell', "
                     "'suspect_slower', 0.05, 0.04, 0.06, 1e-9, 1e-6, 0.01, 0.005, 5, 5, NULL, "
                     "'confirmed', '', 1)")

    def answers(self):
        return json.loads(self.fine("ack", "--list", "-o", "json").stdout)

    def test_an_answer_is_kept_and_listed(self):
        self.assertEqual(self.answers(), [])
        said = self.fine("ack", "AAAA", "--reason", "new default, 'faster' later").stderr
        self.assertEqual(said, "verdict aaaa1111: accepted\n")
        row = self.answers()[0]
        self.assertEqual((row["verdict"], row["kind"], row["reason"], row["until"], row["state"]),
                         ("aaaa1111", "accepted", "new default, 'faster' later", "", "holds"))
        self.assertEqual((row["said"], row["metric"], row["baseline"]),
                         ("suspect_slower", "time", "h100"))
        self.assertAlmostEqual(row["effect_pct"], 5, 9)
        self.assertTrue(row["cell"].startswith("rmsnorm@cpu/ref/"))
        for form in ("table", "md", "csv", "jsonl"):
            self.assertIn("accepted", self.fine("ack", "--list", "-o", form).stdout)

    def test_the_newest_answer_counts_and_can_be_taken_back(self):
        self.fine("ack", "aaaa", "--reason", "one", "--kind", "expected")
        self.fine("ack", "aaaa", "--reason", "two", "--kind", "flake")
        self.assertEqual([(r["reason"], r["state"]) for r in self.answers()],
                         [("two", "holds"), ("one", "replaced")])
        self.fine("ack", "aaaa", "--reason", "wrong", "--until", "0d")
        self.assertEqual([r["state"] for r in self.answers()], ["over", "replaced", "replaced"])
        self.assertEqual(self.sql(f"SELECT ack_reason FROM v_verdict WHERE verdict_uuid = '{FIRST}'"),
                         [("wrong",)])

    def test_how_long_it_holds(self):
        self.fine("ack", "aaaa", "--reason", "noise", "--kind", "flake")
        self.fine("ack", "bbbb", "--reason", "until the fix", "--until", "14d")
        spans = self.sql("SELECT (until - made) / 86400 FROM acknowledgement ORDER BY 1")
        self.assertAlmostEqual(spans[0][0], 14, 3)
        self.assertAlmostEqual(spans[1][0], 30, 3)
        self.fine("ack", "bbbb", "--reason", "a day", "--until", "2099-12-31")
        self.assertEqual(self.answers()[0]["until"], "2100-01-01 00:00")

    def test_refusals(self):
        self.refused("ack", "aaaa", says=["needs its --reason"])
        self.refused("ack", "aaaa", "--reason", " \n", says=["needs its --reason"])
        self.refused("ack", "aaaa", "--reason", "x" * 400, says=["longer than 399 bytes"])
        self.refused("ack", "aaaa", "--reason", "x", "--kind", "flak", says=['"flake"'])
        self.refused("ack", "aaaa", "--reason", "x", "--until", "2020-01-31", says=["is over"])
        self.refused("ack", "aaaa", "--reason", "x", "--until", "2099-02-30", says=["like 2026-12-31"])
        self.refused("ack", "aaaa", "--reason", "x", "--until", "soon", says=["like 2026-12-31"])
        self.refused("ack", "aaab", "--reason", "x", says=["unknown verdict"])
        self.refused("ack", "--reason", "x", says=["one verdict"])
        self.refused("ack", "aaaa", "--reason", "x", "-o", "json", says=["ack --list"])
        self.refused("ack", "--list", "aaaa", says=["takes no verdict"])
        self.refused("ack", "--list", "--reason", "x", says=["--reason cannot stand beside it"])
        self.assertEqual(self.answers(), [])

    def test_only_a_suspicion_is_answered(self):
        """What could not be told, wrong numbers, and a sentinel say nothing of a later change."""
        for i, (verdict, metric, role) in enumerate([("inconclusive", "time", "sentinel"),
                                                     ("mismatch", "result", "cell")]):
            self.sql(f"INSERT INTO verdict VALUES({i + 9}, 'cccc{i}', 1, 1, '{metric}', '{role}', "
                     f"'{verdict}', 0.1, -0.2, 0.4, 1, 1, 0.01, 0.3, 5, 5, 40, '', '', 1)")
            self.refused("ack", f"cccc{i}", "--reason", "x", says=["is no suspicion"])
        self.refused("ack", "nothing", "--reason", "x", says=["the newest are aaaa1111, bbbb2222"])

    def test_killed_while_it_is_given(self):
        begun = time.monotonic()
        self.fine("ack", "aaaa", "--reason", "0")
        whole = time.monotonic() - begun
        draw = random.Random(6)
        for i in range(12):
            with subprocess.Popen([str(SEQMARK), "ack", "aaaa", "--reason", str(i + 1)],
                                  cwd=self.folder, stderr=subprocess.DEVNULL) as process:
                time.sleep(draw.uniform(0, whole))
                process.send_signal(signal.SIGKILL)
            reasons = [row["reason"] for row in self.answers()]
            self.assertEqual(len(set(reasons)), len(reasons))  # none twice
            self.assertEqual(self.sql("PRAGMA integrity_check"), [("ok",)])
            self.assertEqual(self.sql("PRAGMA foreign_key_check"), [])
        self.fine("ack", "aaaa", "--reason", "last", "--until", f"{DAY}s")
        self.assertEqual(self.answers()[0]["reason"], "last")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
