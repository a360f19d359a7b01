#!/usr/bin/env python3
"""`seqmark gate`: what a campaign is said to be beside another, in every form, with each exit code.
The times are those of fake_night.py.

usage: test_gate.py SOURCE_DIR BINARY_DIR
"""
import contextlib
import csv
import io
import json
import os
import pathlib
import sqlite3
import sys
import unittest
import xml.etree.ElementTree as ElementTree

sys.dont_write_bytecode = True
from nights import Nights

SLOW = "L=128,D=512"  # four cells


class Gate(Nights):
    def setUp(self):
        super().setUp()
        self.assertEqual(self.measure("base").returncode, 0)

    def gate(self, *words, code, base="base", **night):
        self.measure("night", **night)
        result = self.seqmark("night", "gate", base, "latest", *words)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(f"seqmark: exit {code}: ", self.last_line(result))
        return result

    def verdicts(self, metric="time"):
        return dict(self.rows("SELECT verdict, count(*) FROM v_verdict WHERE role = 'cell' AND "
                              f"metric = '{metric}' GROUP BY 1"))

    def test_the_same_code_is_as_good(self):
        result = self.gate(code=0)
        self.assertIn("32 cells beside base: 32 unchanged", self.last_line(result))
        self.assertEqual(self.verdicts(), {"unchanged": 32})
        self.assertEqual(self.rows("SELECT exit_code, controls, baseline_name FROM gate"),
                         [(0, 32, "")])

    def test_slower_cells_are_suspects_and_others_are_not(self):
        result = self.gate("-o", "csv", code=3, times={SLOW: 1.03}, hash={SLOW: "b" * 16})
        self.assertIn("4 unresolved, 28 unchanged", self.last_line(result))
        rows = list(csv.DictReader(io.StringIO(result.stdout)))
        self.assertEqual(len(rows), 32)
        for row in rows:
            self.assertEqual(row["verdict"], "suspect_slower" if SLOW in row["key"] else "unchanged")
            self.assertEqual(row["confirmed"], "unresolved" if SLOW in row["key"] else "")
        suspect = rows[0]
        self.assertIn(SLOW, suspect["key"])
        self.assertAlmostEqual(float(suspect["time"]), 0.03, delta=0.01)
        self.assertLess(float(suspect["q"]), 0.05)
        self.assertEqual(self.rows("SELECT count(*), min(confirmed), min(n_night) FROM v_verdict "
                                   "WHERE verdict = 'suspect_slower'"), [(4, "unresolved", 5)])

    def test_a_smaller_change_than_asked_for_is_none(self):
        self.gate("--min-effect", "5%", code=0, times={SLOW: 1.03}, hash={SLOW: "b" * 16})
        result = self.seqmark("night", "gate", "base", "night", "--min-effect", "5")
        self.assertEqual(result.returncode, 1)
        self.assertIn("a share like 2%", self.last_line(result))

    def test_faster_cells_are_fine(self):
        self.gate(code=0, times={SLOW: 0.95}, hash={SLOW: "b" * 16})
        self.assertEqual(self.verdicts(), {"suspect_faster": 4, "unchanged": 28})

    def test_memory_registers_and_setup_are_gated(self):
        self.gate(code=3, peak={SLOW: 1.01}, registers={"L=256,D=512": 33}, dram={"L=512,D=256": 1.01},
                  setup={"L=512,D=512": 1.5})
        for metric in ("peak_bytes", "registers", "dram_bytes"):
            self.assertEqual(self.verdicts(metric), {"suspect_larger": 4}, metric)
        self.assertEqual(self.verdicts("setup"), {"suspect_slower": 4})

    def test_bytes_of_a_baseline_that_was_counted_five_times(self):
        """Not further from their middle than they lie apart is no suspect; beside one count it is."""
        turns = [1, 1.01, 1.004, 1.002, 1.006]
        self.measure("one", dram_turns=turns)
        self.measure("five", "--count-every-run", "on", dram_turns=turns)
        self.assertEqual(self.rows("SELECT label, count(*) FROM value JOIN run USING (run_id) JOIN "
                                   "campaign USING (campaign_id) WHERE metric = 'dram_bytes_read' "
                                   "AND label <> 'base' GROUP BY 1"), [("five", 160), ("one", 32)])
        self.gate(base="one", code=3, dram={"": 1.014})
        self.assertEqual(self.verdicts("dram_bytes"), {"suspect_larger": 32})
        self.gate(base="five", code=0, dram={"": 1.014})
        result = self.gate(base="five", code=3, dram={SLOW: 1.016, "": 1.014})
        self.assertIn("4 unresolved, 28 unchanged", self.last_line(result))

    def test_wrong_numbers_are_exit_4(self):
        result = self.gate(code=4, times={SLOW: 1.05}, result={"L=64,D=256": "wrong"})
        self.assertIn("wrong numbers; 32 cells", self.last_line(result))
        self.assertIn("(mismatch: told to: wrong)", self.last_line(result))
        self.assertEqual(self.verdicts("result"), {"mismatch": 4})

    def test_a_cell_that_begins_to_fail_is_a_suspect(self):
        result = self.gate("--allow-failed", "4", code=3, result={"L=64,D=256": "error"})
        self.assertEqual(self.verdicts("result"), {"newly_failing": 4})
        self.assertIn("fails (error: told to: error)", self.last_line(result))
        self.gate("--allow-failed", "3", code=6, result={"L=64,D=256": "error"})

    def test_what_failed_before_counts_to_6_and_memory_does_not(self):
        bad = {"L=64,D=256": "error", "L=128,D=256": "oom"}
        self.measure("bad", result=bad)
        self.gate(code=6, base="bad", result=bad)
        self.assertEqual(self.verdicts("result"), {"failed_before": 8})
        self.gate("--allow-failed", "4", code=0, base="bad", result=bad)

    def test_a_night_whose_unchanged_code_moved_is_unfit(self):
        result = self.gate(code=5, times={"": 1.03})
        self.assertIn("32 cells of unchanged code moved by +", self.last_line(result))
        result = self.gate(code=5, others=1)
        self.assertIn("others computed on the GPU in 160 of 160 runs", self.last_line(result))

    def test_cells_of_one_side_are_not_compared(self):
        self.measure("night", "--filter", "L<=128")
        result = self.seqmark("night", "gate", "base", "night", "-o", "jsonl")
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn("too many cells of the baseline are missing; 32 cells beside base: 16 unchanged, "
                      "16 missing", self.last_line(result))
        causes = {row["cause"] for row in map(json.loads, result.stdout.splitlines())
                  if row["verdict"] == "not_compared"}
        self.assertEqual(causes, {"not in this night"})
        result = self.seqmark("night", "gate", "base", "night", "--max-inconclusive", "50%", "-o", "json")
        self.assertEqual((result.returncode, json.loads(result.stdout)["missing"]), (0, 16))
        # What the baseline has not is new, and missing on no side.
        result = self.seqmark("night", "gate", "night", "base")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("16 unchanged, 16 not compared", self.last_line(result))

    def test_a_suite_says_how_many_may_be_inconclusive_and_the_command_line_beats_it(self):
        """Half of the baseline's cells are missing; the baseline's suite said nothing of that."""
        def night(share):
            suite = pathlib.Path(self.folder.name, "half.yaml")
            suite.write_text(f"name: half\nmax-inconclusive: {share}\nreplicates: 5\ncells:\n"
                             "  - {on: cuda, op: rmsnorm, provider: cuda/portable, seqlen: \"64..128*2\","
                             " batch: \"1..8*2\", channels: [256, 512]}\n", encoding="utf-8")
            return self.seqmark("base", "run", "--suite", str(suite), "--device", "0")
        self.assertEqual(night("60%").returncode, 0)
        for words, code in ([], 0), (["--max-inconclusive", "40%"], 3), (["--max-inconclusive", "0.7"], 0):
            result = self.seqmark("base", "gate", "base", "latest", *words)
            self.assertEqual(result.returncode, code, result.stderr)
            self.assertIn("16 unchanged, 16 missing", self.last_line(result))
        self.assertEqual(self.rows("SELECT settings ->> 'inconclusive_limit' FROM gate"),
                         [(0.6,), (0.4,), (0.7,)])
        self.assertEqual(night("0.4").returncode, 0)
        self.assertEqual(self.seqmark("base", "gate", "base", "latest").returncode, 3)
        result = night("60")
        self.assertEqual(result.returncode, 1)
        self.assertIn('half.yaml:2:1: max-inconclusive: "60" is no share like 2% or 0.02', result.stderr)

    def test_cells_that_were_throttled_are_missing(self):
        self.measure("night")
        with contextlib.closing(sqlite3.connect(self.db)) as db:
            db.execute("UPDATE run SET status = 'throttled', median_ns = NULL WHERE campaign_id = 2 AND "
                       "cell_id IN (SELECT cell_id FROM cell WHERE key LIKE '%L=256%' OR key LIKE "
                       "'%L=512%')")
            db.commit()
        result = self.seqmark("night", "gate", "base", "night")
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn("16 unchanged, 16 missing", self.last_line(result))

    def test_a_night_of_which_nothing_can_be_compared_is_inconclusive(self):
        """Too few runs of every cell, and cells that the baseline has not."""
        for words in (["--replicates", "1"], ["--channels", "1k"]):
            self.assertEqual(self.measure("night", *words).returncode, 0)
            result = self.seqmark("night", "gate", "base", "latest")
            self.assertEqual(result.returncode, 3, result.stderr)
            self.assertIn("no cell could be compared", self.last_line(result))

    def test_cells_of_too_few_runs_are_inconclusive(self):
        """Sixteen cells as they were, and sixteen of which one run has a time."""
        self.measure("night")
        with contextlib.closing(sqlite3.connect(self.db)) as db:
            db.execute("UPDATE run SET status = 'throttled', median_ns = NULL WHERE replicate > 0 AND "
                       "campaign_id = 2 AND cell_id IN (SELECT cell_id FROM cell WHERE key LIKE "
                       "'%L=256%' OR key LIKE '%L=512%')")
            db.commit()
        result = self.seqmark("night", "gate", "base", "night")
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn("too many cells are; 32 cells beside base: 16 unchanged, 16 not compared",
                      self.last_line(result))
        result = self.seqmark("night", "gate", "base", "night", "--max-inconclusive", "60%")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_another_driver_is_refused_or_said(self):
        self.measure("night", driver="590")
        result = self.seqmark("night", "gate", "base", "night")
        self.assertEqual(result.returncode, 5)
        self.assertIn("driver: 580 and 590", self.last_line(result))
        self.assertEqual(self.rows("SELECT count(*) FROM gate"), [(0,)])
        result = self.seqmark("night", "gate", "base", "night", "--across", "driver")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("compared across driver: 580 and 590", result.stderr)
        self.assertEqual(self.rows("SELECT controls FROM gate"), [(0,)])
        result = self.seqmark("night", "gate", "base", "night", "--across", "cache")
        self.assertEqual(result.returncode, 1)

    def test_a_baseline_by_its_name(self):
        self.assertEqual(self.seqmark("base", "baseline", "set", "main", "base",
                                      "--no-binary").returncode, 0)
        self.measure("night")
        result = self.seqmark("night", "gate", "baseline:main", "latest")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("beside main:", self.last_line(result))
        self.assertEqual(self.rows("SELECT baseline_name FROM gate"), [("main",)])

    def test_an_answered_change_does_not_count(self):
        slow = {"times": {SLOW: 1.03}, "hash": {SLOW: "b" * 16}}
        result = self.gate("-o", "csv", code=3, **slow)
        names = [row["ack"] for row in csv.DictReader(io.StringIO(result.stdout)) if row["ack"]]
        self.assertEqual(len(names), 4)
        for name in names:
            self.assertEqual(self.seqmark("night", "ack", name, "--reason", "a new tile",
                                          "--kind", "flake").returncode, 0)
        result = self.gate("-o", "csv", code=0, **slow)
        self.assertIn("4 answered, 28 unchanged", self.last_line(result))
        rows = [row for row in csv.DictReader(io.StringIO(result.stdout)) if row["ack"]]
        self.assertEqual({row["confirmed"] for row in rows}, {"answered"})
        self.assertIn("a new tile", rows[0]["cause"])

    def acks(self, result):
        """{cell: the column `ack`} of those that have one."""
        return {row["key"]: row["ack"] for row in csv.DictReader(io.StringIO(result.stdout)) if row["ack"]}

    def ack(self, name, reason):
        result = self.seqmark("night", "ack", name, "--reason", reason)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_of_two_suspicions_each_has_its_answer(self):
        cell = "B=1,L=128,D=512"
        slow = {"times": {cell: 1.05}, "setup": {cell: 2}, "hash": {cell: "b" * 16}}
        result = self.gate("-o", "csv", code=3, **{**slow, "times": {cell: 1.06}, "setup": {cell: 2.1}})
        ((_, names),) = self.acks(result).items()
        names = dict(word.split() for word in names.split(", "))
        self.assertEqual(set(names), {"time", "setup"})
        self.ack(names["time"], "a new tile")
        result = self.gate("-o", "csv", code=3, **slow)
        row = next(csv.DictReader(io.StringIO(result.stdout)))
        self.assertEqual(row["confirmed"], "unresolved")
        self.assertTrue(row["what"].startswith("setup +"), row)
        self.assertRegex(row["cause"], "^changed kernels; time accepted by .*: a new tile; not measured again")
        self.ack(names["setup"], "a plan")
        result = self.gate("-o", "csv", code=0, **slow)
        self.assertIn("1 answered, 31 unchanged", self.last_line(result))
        # One that grows is told as more than what was answered.
        result = self.gate("-o", "csv", code=3, **{**slow, "times": {cell: 1.2}})
        row = next(csv.DictReader(io.StringIO(result.stdout)))
        self.assertTrue(row["what"].startswith("time +"), row["what"])
        self.assertNotIn("setup", row["what"])
        self.assertIn("time is more than what was accepted by", row["cause"])

    def test_an_accepted_lack_of_memory_is_no_crash(self):
        cell = "B=1,L=128,D=512"
        result = self.gate("-o", "csv", code=3, result={cell: "oom"})
        ((_, name),) = self.acks(result).items()
        self.ack(name, "a larger tile")
        result = self.gate("-o", "csv", code=0, result={cell: "oom"})
        self.assertIn("oom: told to: oom; result accepted by", result.stdout)
        result = self.gate("--allow-failed", "1", "-o", "csv", code=3, result={cell: "error"})
        self.assertIn("error: told to: error", self.last_line(result))
        self.assertNotIn("accepted", result.stdout)

    def test_every_form(self):
        path = lambda name: os.path.join(self.folder.name, name)
        result = self.gate("-o", "json", "--junit", path("a/junit.xml"), "--markdown", path("b.md"),
                           "--html", path("page"), code=4, times={SLOW: 1.03},
                           hash={SLOW: "b" * 16}, result={"L=64,D=256": "wrong"})
        whole = json.loads(result.stdout)
        self.assertEqual((whole["exit_code"], whole["cells"], len(whole["verdicts"])), (4, 32, 32))
        self.assertEqual({c["cells"]: c["n"] for c in whole["counts"]}["suspect_slower"], 4)
        self.assert_junit(path("a/junit.xml"))
        summary = pathlib.Path(path("b.md")).read_text(encoding="utf-8")
        self.assertTrue(summary.startswith("## Exit 4: wrong numbers"), summary[:200])
        self.assertEqual(summary.count("| suspect\\_slower |") + summary.count("| suspect_slower |"), 5)
        page = pathlib.Path(path("page/index.html")).read_text(encoding="utf-8")
        self.assertEqual(page.count("<tr><th scope=\"row\">"), 32)
        self.assertIn("<h2>Exit 4</h2>", page)

    def assert_junit(self, path):
        """The elements and attributes of the schema that Jenkins, GitLab and GitHub actions read."""
        root = ElementTree.parse(path).getroot()
        self.assertEqual(root.tag, "testsuites")
        (suite,) = root
        self.assertEqual([child.tag for child in suite], ["properties"] + ["testcase"] * 32)
        counted = {"failure": 0, "error": 0, "skipped": 0}
        for case in suite.iter("testcase"):
            self.assertEqual(set(case.attrib), {"classname", "name", "time"})
            self.assertGreaterEqual(float(case.get("time")), 0)
            for child in case:
                counted[child.tag] += 1
                self.assertTrue(child.get("message"))
        told = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
        self.assertEqual(told, {"tests": 32, "failures": 4, "errors": 0, "skipped": 4})
        self.assertEqual(list(counted.values()), [4, 0, 4])

    def test_folders_that_cannot_be(self):
        for words in (["--html", ""], ["--html", "h" * 961], ["--junit", "x" * 961 + "/night.xml"]):
            result = self.seqmark("base", "gate", "base", "base", *words)
            self.assertEqual(result.returncode, 1, words)
            self.assertIn("name is empty or too long", self.last_line(result))

    def test_words_that_cannot_be(self):
        for words in (["base"], ["base", "nobody"], ["base", "base", "--allow-failed", "x"],
                      ["base", "base", "-o", "html"]):
            result = self.seqmark("base", "gate", *words)
            self.assertEqual(result.returncode, 1, words)
        self.assertEqual(self.rows("SELECT count(*) FROM gate"), [(0,)])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
