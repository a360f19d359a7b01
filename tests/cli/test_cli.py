#!/usr/bin/env python3
"""The command line from outside: help texts, exit codes, last lines, formats, refusals, stores that
are not to be touched. CPU backend only.

usage: test_cli.py SOURCE_DIR BINARY_DIR          compares the help texts with tests/cli/golden
       test_cli.py SOURCE_DIR BINARY_DIR --write  writes them anew
"""
import csv
import fcntl
import io
import json
import os
import pathlib
import pty
import shlex
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import termios
import unittest

SOURCE = pathlib.Path(sys.argv[1])
SEQMARK = pathlib.Path(sys.argv[2]) / "seqmark"
GOLDEN = SOURCE / "tests/cli/golden"
COMMANDS = ["run", "list", "show", "compare", "baseline", "history", "ack", "merge", "prune", "gate", "nightly",
            "characterize", "profile", "report", "export", "verify", "doctor"]
TINY = ["run", "--op", "rmsnorm", "--dtype", "f32", "--seqlen", "8,16", "--channels", "8",
        "--device", "cpu", "--max-samples", "10", "--warmup-time", "1ms"]
KEY = "rmsnorm@cpu/ref/fwd/f32/B=1,L=8,D=8,groups=1,weight=1,gate=none,eps=1e-05," \
      "bias=0,residual=none/clean-cold,plain,unlocked"


def seqmark(*words, cwd=None, **environment):
    no_gpu = {"SEQMARK_WORKER": "/nowhere/seqmark-worker"}
    return subprocess.run([str(SEQMARK), *words], cwd=cwd, capture_output=True, text=True,
                          env={**os.environ, **no_gpu, **environment}, timeout=300, check=False)


def last_line(result):
    return result.stderr.strip().splitlines()[-1]


class Folder(unittest.TestCase):
    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.folder = self.holder.name

    def tearDown(self):
        self.holder.cleanup()

    def path(self, name):
        return os.path.join(self.folder, name)

    def seqmark(self, *words, **environment):
        return seqmark(*words, cwd=self.folder, **environment)

    def fine(self, *words, **environment):
        result = self.seqmark(*words, **environment)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def refused(self, *words, code=1, says=()):
        result = self.seqmark(*words)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertTrue(last_line(result).startswith(f"seqmark: exit {code}: "), result.stderr)
        for text in says:
            self.assertIn(text, last_line(result))
        return result


class Help(unittest.TestCase):
    def test_help_is_as_it_was(self):
        texts = {"seqmark": seqmark("--help"), **{c: seqmark(c, "--help") for c in COMMANDS}}
        for name, result in texts.items():
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(result.stderr, "")
            with self.subTest(name):
                self.assertEqual(result.stdout, (GOLDEN / f"{name}.txt").read_text("utf-8"))

    def test_help_fits_the_line(self):
        for name in COMMANDS:
            for line in seqmark(name, "-h").stdout.splitlines():
                self.assertLessEqual(len(line), 100, line)

    def test_version(self):
        self.assertRegex(seqmark("--version").stdout, r"^seqmark \d+\.\d+\.\d+")


class Refusals(Folder):
    def test_unknown_words_name_the_nearest(self):
        self.refused("rnu", says=["unknown command", "run"])
        self.refused(*TINY, "--seqlem", "8", says=["--seqlem", "--seqlen"])
        self.refused("run", "--op", "atention", "--device", "cpu", says=["attention"])
        self.refused("run", "--family", "manba", "--device", "cpu", says=["mamba"])
        self.refused(*TINY, "--dtype", "fp32", says=["f32"])
        self.refused(*TINY, "--provider", "cpu/rev", says=["cpu/ref"])
        self.refused("run", "--suite", "quikc", says=["quick"])
        self.refused(*TINY, "--policy", "nigthly", says=["nightly"])
        self.refused(*TINY, "--order", "rnd", says=["random"])
        self.refused(*TINY, "-o", "jsno", says=["json"])
        self.refused("list", "operatros", says=["operators"])
        self.refused(*TINY, "--resume", "--retry", "crahsed", says=["crashed"])

    def test_bad_values_say_where(self):
        self.refused(*TINY, "--filter", "L<=8k and", says=["column 10"])
        self.refused(*TINY, "--budget", "soon", says=["command line", "budget"])
        self.refused(*TINY, "--seed", "-1", says=["seed"])
        self.refused(*TINY, "--seed", "18446744073709551616", says=["2^64"])
        self.refused(*TINY, "--replicates", "0", says=["replicates"])
        self.refused(*TINY, "--replicates", "1.5", says=["command line: replicates", "1000"])
        self.refused(*TINY, "--budget", "0", says=["budget"])
        self.refused(*TINY, "--timeout", "0s", says=["timeout"])
        self.refused(*TINY, "--seqlen", "@/dev/zero", says=["too long"])
        self.refused(*TINY, "--seqlen", "@/tmp", says=["Is a directory"])
        self.refused("run", "--suite", "/tmp", says=["Is a directory"])
        self.refused("list", "operators", "axes", says=["axes"])
        self.refused(*TINY, "--counters", "rooflin", says=["did you mean \"roofline\""])
        with open(self.path("set.txt"), "w", encoding="utf-8") as out:
            out.write("instructions\ninstuctions\n")
        self.refused(*TINY, "--counters", self.path("set.txt"), says=["set.txt, line 2"])
        self.refused(*TINY, "--counters", "timeline", says=["sampled, not counted"])
        self.refused(*TINY, "--counters", self.path("none"), says=["counters", "none"])
        self.refused(*TINY, "--seqlen", "@" + self.path("none"), says=["none"])
        self.refused(*TINY, "--seqlen", says=["--seqlen needs a value"])
        self.refused(*TINY, "--dry-run=1", says=["takes no value"])
        self.refused(*TINY, "extra", says=["extra"])
        self.refused("run", says=["nothing is selected"])

    def test_impossible_shapes_name_the_rule(self):
        attention = ["run", "--op", "attention", "--device", "cpu"]
        self.refused(*attention, "--heads", "6", "--kv-heads", "4", says=["attention"])
        self.refused(*attention, "--seqlen", "0", says=["seqlen"])
        self.refused(*attention, "--seqlen", "64", "--width", "100", says=["L=64: width 100"])
        self.refused(*attention, "--tokens", "1k", "--seqlen", "2k", says=["less than 1"])
        self.refused(*attention, "--tokens", "1k", "--batch", "2", says=["batch"])
        self.refused(*attention, "--taps", "4", says=["--taps"])

    def test_the_last_line_is_one_line_of_text(self):
        self.fine(*TINY)
        result = self.refused("show", "a\nb\x1b[31m", says=["unknown campaign"])
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertNotIn("\x1b", result.stderr)

    def test_data_that_cannot_be_written_is_said(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            for words in (["--help"], ["run", "--help"], ["list", "operators"]):
                result = subprocess.run([str(SEQMARK), *words], stdout=full, text=True,
                                        stderr=subprocess.PIPE, check=False)
                self.assertEqual(result.returncode, 1, words)
                self.assertIn("cannot write to stdout", last_line(result))

    def test_missing_device_is_unfit(self):
        self.refused(*TINY[:-6], "--device", "0", code=5, says=["device 0", "/nowhere/seqmark-worker"])
        self.refused(*TINY[:-6], "--device", "gpu", says=["gpu"])

    def test_refusals_leave_no_store(self):
        self.refused("run", "--op", "attention", "--heads", "6", "--kv-heads", "4", "--device",
                     "cpu")
        self.refused(*TINY, "--filter", "L>1k")
        self.fine(*TINY, "--dry-run")
        self.fine(*TINY, "--show-config")
        self.assertEqual(os.listdir(self.folder), [])

    def test_suite_file_has_line_and_column(self):
        suite = self.path("mine.yaml")
        pathlib.Path(suite).write_text("name: mine\ncells:\n  - op: ssd\n    seqlne: 8\n", "utf-8")
        self.refused("run", "--suite", suite, says=["mine.yaml:4:5", "seqlen"])
        for line, says in (("policy: nigthly", "nightly"), ("order: rnd", "random"),
                           ('filter: "L<"', "column 3"), ("replicates: 0", "1 to 1000")):
            pathlib.Path(suite).write_text(
                f"name: mine\n{line}\ncells:\n  - {{op: ssd, seqlen: 8}}\n", "utf-8")
            self.refused("run", "--suite", suite, says=["mine.yaml:2:1", says])


class Plans(Folder):
    def plan(self, *words):
        result = self.fine(*words, "--device", "cpu", "--dry-run", "-o", "csv")
        return list(csv.DictReader(io.StringIO(result.stdout)))

    def test_lists_files_and_filters(self):
        pathlib.Path(self.path("lengths")).write_text("8 16 # short\n1k\n", "utf-8")
        rows = self.plan("run", "--op", "rmsnorm", "--seqlen", "@" + self.path("lengths"),
                         "--batch", "1..4*2", "--filter", "L<1k or B==4")
        self.assertEqual(len(rows), 7)

    def test_predictions_and_skips(self):
        rows = self.plan("run", "--op", "attention", "--seqlen", "16,64k", "--heads", "4")
        kinds = {("L=64," in r["cell"] or "L=65536," in r["cell"]): r for r in rows}
        self.assertEqual(kinds[True]["what"], "skipped")
        self.assertIn("max-cell-time", kinds[True]["reason"])
        self.assertEqual(kinds[False]["what"], "run")
        self.assertGreater(float(kinds[False]["bytes"]), 0)
        self.assertGreater(float(kinds[False]["run_s"]), 0)

    def test_command_line_beats_suite_beats_default(self):
        suite = self.path("mine.yaml")
        pathlib.Path(suite).write_text(
            "name: mine\nreplicates: 2\ncells:\n  - {op: [rmsnorm, ssd], seqlen: 8}\n", "utf-8")
        result = self.fine("run", "--suite", suite, "--seqlen", "32", "--show-config", "-o", "json")
        origins = {(r["scope"], r["key"]): (r["value"], r["origin"])
                   for r in json.loads(result.stdout)}
        self.assertEqual(origins["group 1", "seqlen"], ("32", "command line"))
        self.assertEqual(origins["campaign", "order"], ("random", "default"))
        self.assertEqual(origins["campaign", "replicates"][0], "2")
        self.assertTrue(origins["campaign", "replicates"][1].endswith("mine.yaml:2:1"))
        rows = self.plan("run", "--suite", suite, "--op", "rmsnorm", "--seqlen", "32")
        self.assertEqual({r["cell"].split("@")[0] for r in rows}, {"rmsnorm"})
        self.assertEqual(len(rows), 2)

    def test_suites_are_found(self):
        for name in ("quick", "nightly", "paper", "aa", "passes"):
            self.assertGreater(len(self.plan("run", "--suite", name)), 20)

    def test_seed_gives_the_order(self):
        words = [*TINY[:5], "--seqlen", "8..256+8", "--channels", "8"]
        first = [r["cell"] for r in self.plan(*words, "--seed", "3")]
        self.assertEqual(first, [r["cell"] for r in self.plan(*words, "--seed", "3")])
        self.assertNotEqual(first, [r["cell"] for r in self.plan(*words, "--seed", "4")])
        self.assertNotEqual(first, [r["cell"] for r in self.plan(*words, "--order", "plan")])
        self.assertEqual(sorted(first), sorted(r["cell"] for r in self.plan(*words)))


class Store(Folder):
    def test_run_show_export_report(self):
        result = self.fine(*TINY, "--label", "first", "--seed", "11", "--replicates", "2")
        self.assertTrue(last_line(result).startswith("seqmark: exit 0: 4 runs: "), result.stderr)
        self.assertIn("rmsnorm", result.stdout)
        self.assertEqual(sorted(os.listdir(self.folder)), ["seqmark.db"])

        self.assertIn("rmsnorm", self.fine("show", "1").stdout)
        self.assertIn("first", self.fine("show", "latest").stdout)
        self.assertIn("first", self.fine("show", "first", "-o", "json").stdout)
        sections = json.loads(self.fine("show", KEY, "-o", "json").stdout)
        self.assertEqual({a["name"]: a["value"] for a in sections["axes"]}["L"], "8")
        facts = list(csv.DictReader(io.StringIO(self.fine("show", KEY, "-o", "csv").stdout)))
        self.assertEqual({f["value"] for f in facts if (f["section"], f["field"]) == ("run", "key")},
                         {KEY})
        self.assertEqual(len(facts), len(self.fine("show", KEY, "-o", "jsonl").stdout.splitlines()))
        self.refused("show", "nothing-of-the-kind")
        self.refused("show")

        rows = list(csv.DictReader(io.StringIO(self.fine("export").stdout)))
        self.assertEqual(len(rows), 4)
        self.assertEqual({r["label"] for r in rows}, {"first"})
        for line in self.fine("export", "-o", "jsonl").stdout.splitlines():
            self.assertEqual(json.loads(line)["subject"], "rmsnorm")
        samples = list(csv.DictReader(io.StringIO(self.fine("export", "--samples").stdout)))
        self.assertEqual(len(samples), sum(int(r["n_samples"]) for r in rows))
        self.assertEqual(json.loads(self.fine("export", "--failures", "-o", "json").stdout), [])

        values = json.loads(self.fine("export", "--metric", "tokens,flops", "-o", "json").stdout)
        self.assertEqual({v["metric"] for v in values}, {"tokens", "flops"})
        self.assertEqual({v["value"] for v in values if v["metric"] == "tokens"}, {8, 16})
        self.refused("export", "--metric", "tokns", says=["tokens"])

        self.refused("export", "--samples", "--failures", says=["exclude each other"])
        self.refused("export", "--copy", "x.db", "--metric", "all", says=["exclude each other"])
        self.refused("export", "--copy", "x.db", "--campaign", "latest", says=["--campaign"])
        self.refused("export", "--copy", "", says=["empty"])
        self.fine("export", "--db", self.path("copy.db"))
        self.refused("export", "--copy", self.path("copy.db"), says=["copy.db"])
        self.assertEqual(self.fine("export", "--db", self.path("copy.db")).stdout,
                         self.fine("export").stdout)

        result = self.fine("report", "--out", self.path("page"))
        self.assertIn("rmsnorm", result.stdout)
        page = pathlib.Path(self.path("page/index.html")).read_text("utf-8")
        for name in ("Highest clocks", "Power limit"):  # a CPU has none, and none is not 0
            self.assertIn(f'<dt>{name}</dt><dd class="unknown">', page)
        self.assertIn("<dt>Suite</dt><dd>none</dd>", page)

    def test_repro_measures_the_same_cell(self):
        self.fine(*TINY, "--seed", "11")
        command = shlex.split(self.fine("show", KEY, "--repro").stdout)
        self.assertEqual(command[:2], ["seqmark", "run"])
        self.assertEqual(command[command.index("--seed") + 1], "11")
        self.fine(*command[1:], "--db", self.path("again.db"), "--max-samples", "10")
        db = sqlite3.connect(self.path("again.db"))
        self.assertEqual(db.execute("SELECT key FROM cell").fetchall(), [(KEY,)])
        db.close()

    def test_repro_says_the_policy(self):
        self.fine(*TINY, "--policy", "paper", "--max-time", "77ms", "--db", self.path("one.db"))
        command = shlex.split(self.fine("show", KEY, "--repro", "--db", self.path("one.db")).stdout)
        self.assertEqual(command[command.index("--policy") + 1], "paper")
        self.fine(*command[1:], "--db", self.path("two.db"))
        db = sqlite3.connect(self.path("two.db"))
        db.execute("ATTACH ? AS one", (self.path("one.db"),))
        told = db.execute("SELECT a.policy, b.policy FROM campaign a, one.campaign b").fetchall()
        db.close()
        self.assertEqual(told[0][0], told[0][1])
        self.assertEqual(json.loads(told[0][0])["max_seconds"], 0.077)

    def test_a_long_command_is_kept_whole(self):
        words = [*TINY, "--filter", "L<99" + " " * 2000 + "or L==8"]
        self.fine(*words)
        db = sqlite3.connect(self.path("seqmark.db"))
        (argv,) = db.execute("SELECT argv FROM campaign").fetchone()
        db.close()
        self.assertGreater(len(argv), 2000)
        self.assertEqual(shlex.split(argv), ["seqmark", *words])

    def test_a_bare_launch_of_a_cell_that_was_measured_at_a_locked_clock(self):
        locked = KEY.replace("unlocked", "locked@1200")
        self.fine("run", "--cell", locked, "--device", "cpu", "--profile")
        result = self.seqmark("run", "--cell", locked, "--device", "cpu", "--dry-run")
        self.assertEqual(result.returncode, 1)
        self.assertIn("the cell's key says locked@1200", result.stderr)

    def test_other_profilers_get_bare_launches(self):
        result = self.seqmark("run", "--cell", KEY, "--device", "cpu", "--profile",
                              "--db", self.path("none.db"))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f"launched {KEY}", result.stderr)
        self.assertIn("1 cell launched once; nothing is stored", last_line(result))
        self.assertFalse(os.path.exists(self.path("none.db")))

    def test_metrics_of_a_users_set_are_in_the_store(self):
        with open(self.path("mine.txt"), "w", encoding="utf-8") as out:
            out.write("instructions\nmy_hits lts__t_sectors_lookup_hit.sum\n")
        db = self.path("mine.db")
        result = self.seqmark(*TINY, "--counters", self.path("mine.txt"), "--db", db)
        self.assertEqual(result.returncode, 0, result.stderr)
        store = sqlite3.connect(db)
        rows = store.execute("SELECT source FROM metric WHERE name = 'my_hits'").fetchall()
        store.close()
        self.assertEqual(rows, [("cupti:lts__t_sectors_lookup_hit.sum",)])

    def test_resume_of_a_finished_campaign_does_nothing(self):
        self.fine(*TINY)
        self.assertIn("nothing to do", last_line(self.fine(*TINY, "--resume")))
        db = sqlite3.connect(self.path("seqmark.db"))
        self.assertEqual(db.execute("SELECT count(*) FROM run").fetchone(), (2,))
        db.close()
        self.fine(*TINY, "--resume", "--replicates", "2")  # another plan: a new campaign
        db = sqlite3.connect(self.path("seqmark.db"))
        self.assertEqual(db.execute("SELECT count(*) FROM campaign").fetchone(), (2,))
        db.close()

    def test_dry_run_of_a_resumption_says_what_is_left(self):
        words = [*TINY, "--seqlen", "8,16,32", "--order", "plan"]
        self.fine(*words)
        db = sqlite3.connect(self.path("seqmark.db"))
        db.execute("PRAGMA foreign_keys = ON")
        for table in ("check_result", "value", "kernel", "run"):
            db.execute(f"DELETE FROM {table} WHERE run_id = 2")
        db.execute("UPDATE campaign SET state = 'interrupted'")
        db.commit()
        db.close()
        before = pathlib.Path(self.path("seqmark.db")).read_bytes()
        plan = json.loads(self.fine(*words, "--resume", "--dry-run", "-o", "json").stdout)
        self.assertEqual([r["what"] for r in plan], ["done", "run", "done"])
        self.assertEqual(pathlib.Path(self.path("seqmark.db")).read_bytes(), before)
        self.refused(*words, "--retry", "crahsed", "--dry-run", says=["crashed"])
        self.assertIn(": 1 run:", last_line(self.fine(*words, "--resume")))

    def test_the_command_is_kept_as_a_shell_takes_it(self):
        label = "it's <b>a</b>\n\"label\""
        self.fine(*TINY, "--label", label)
        facts = json.loads(self.fine("show", label, "-o", "json").stdout)["campaign"]
        argv = {f["field"]: f["value"] for f in facts}["argv"]
        self.assertEqual(shlex.split(argv), ["seqmark", *TINY, "--label", label])
        self.refused(*TINY, "--label", "x" * 64, says=["--label"])

    def test_a_campaign_says_where_its_time_went(self):
        words = [*TINY, "--replicates", "3"]
        result = self.fine(*words, "-o", "json")
        told = json.loads(result.stdout)
        cost = told["cost"]
        self.assertEqual((told["state"], len(told["results"])), ("finished", 2))
        self.assertEqual((cost["runs"], cost["left"], cost["plan_cells"]), (6, 0, 2))
        self.assertAlmostEqual(sum(p["percent"] for p in cost["phases"]), 100, places=4)
        self.assertAlmostEqual(sum(p["seconds"] for p in cost["phases"]), cost["seconds"], places=4)
        names = {p["phase"] for p in cost["phases"]}
        self.assertLessEqual({"ceilings", "worker", "check", "setup", "proof", "samples", "store",
                              "other"}, names)
        self.assertIn("where the time went", result.stderr)
        self.assertNotIn("whole plan", result.stderr)
        # Of a finished campaign, the extrapolation is what it took.
        self.assertAlmostEqual(cost["plan_seconds"] / cost["seconds"], 1, places=2)
        db = sqlite3.connect(self.path("seqmark.db"))
        rows = db.execute("SELECT replicate, metric FROM value JOIN run USING (run_id) WHERE "
                          "metric IN ('proof_reused', 'phase_samples_ms')").fetchall()
        unknown = db.execute("SELECT DISTINCT metric FROM value WHERE metric NOT IN "
                             "(SELECT name FROM metric)").fetchall()
        db.close()
        self.assertEqual(sorted(r for r, m in rows if m == "proof_reused"), [1, 1, 2, 2])
        self.assertEqual(len([r for r, m in rows if m == "phase_samples_ms"]), 6)
        self.assertEqual(unknown, [])

    def test_suite_aa_has_its_replicates(self):
        self.fine("run", "--suite", "aa", "--device", "cpu", "--replicates", "2", "--warmup-time",
                  "1ms", "--max-time", "5ms", "--max-interval", "99", "--label", "aa")
        db = sqlite3.connect(self.path("seqmark.db"))
        rows = db.execute("SELECT key, count(*), sum(replicate), sum(median_ns > 0) FROM v_result "
                          "WHERE label = 'aa' GROUP BY key").fetchall()
        kinds = db.execute("SELECT DISTINCT subject FROM cell").fetchall()
        db.close()
        self.assertEqual({r[1:] for r in rows}, {(2, 1, 2)})
        self.assertGreaterEqual(len(kinds), 10)  # all operators, and blocks

    def test_a_budget_without_room_says_so(self):
        result = self.fine(*TINY, "--budget", "1us")
        self.assertIn("no run fitted into it; 2 left", last_line(result))

    def test_an_empty_store_exports_and_reports(self):
        self.fine(*TINY)
        db = sqlite3.connect(self.path("seqmark.db"))
        for table in ("check_result", "kernel", "value", "run"):
            db.execute(f"DELETE FROM {table}")
        db.commit()
        db.close()
        self.assertEqual(json.loads(self.fine("export", "-o", "json").stdout), [])
        self.fine("report", "--out", self.path("page"))

    def untouched(self, name, content):
        path = pathlib.Path(self.path(name))
        path.write_bytes(content)
        for words in ([*TINY, "--db", str(path)], ["report", "--db", str(path)],
                      ["export", "--db", str(path)], ["show", "latest", "--db", str(path)]):
            self.refused(*words, says=[name])
            self.assertEqual(path.read_bytes(), content)
        self.refused("doctor", "--db", str(path), "--device", "cpu", code=5, says=["store"])

    def test_doctor_only_looks(self):
        self.fine(*TINY)
        whole = pathlib.Path(self.path("seqmark.db")).read_bytes()
        for content in (b"", whole):
            pathlib.Path(self.path("looked-at.db")).write_bytes(content)
            self.fine("doctor", "--device", "cpu", "--db", "looked-at.db")
            self.assertEqual(pathlib.Path(self.path("looked-at.db")).read_bytes(), content)
        self.fine("doctor", "--device", "cpu", "--db", "none.db")
        self.assertEqual(sorted(os.listdir(self.folder)), ["looked-at.db", "seqmark.db"])

    def test_what_is_no_store_is_left_alone(self):
        self.untouched("text.db", b"this is no database\n" * 100)
        other = self.path("other.db")
        db = sqlite3.connect(other)
        db.execute("CREATE TABLE mine(x)")
        db.execute("INSERT INTO mine VALUES (1)")
        db.commit()
        db.close()
        self.untouched("foreign.db", pathlib.Path(other).read_bytes())

    def test_newer_store_is_left_alone(self):
        self.fine(*TINY)
        db = sqlite3.connect(self.path("seqmark.db"))
        db.execute("PRAGMA user_version = 99")
        db.commit()
        db.close()
        self.untouched("newer.db", pathlib.Path(self.path("seqmark.db")).read_bytes())

    def test_locked_store_is_refused(self):
        self.fine(*TINY)
        before = pathlib.Path(self.path("seqmark.db")).read_bytes()
        db = sqlite3.connect(self.path("seqmark.db"), isolation_level=None)
        db.execute("BEGIN EXCLUSIVE")
        self.refused(*TINY, says=["seqmark.db"])
        db.execute("ROLLBACK")
        db.close()
        self.assertEqual(pathlib.Path(self.path("seqmark.db")).read_bytes(), before)

    def test_missing_store_is_not_made_by_reading(self):
        self.refused("report", says=["seqmark.db"])
        self.refused("show", "latest", says=["seqmark.db"])
        self.refused("export", "-o", "csv", says=["seqmark.db"])
        self.assertEqual(os.listdir(self.folder), [])


class Copies(Folder):
    """Each test has a copy of one store: `campaigns` as they are measured, and then changed by hand."""

    @classmethod
    def setUpClass(cls):
        cls.shared = tempfile.TemporaryDirectory()
        cls.store = os.path.join(cls.shared.name, "seqmark.db")
        for words in cls.campaigns:
            result = seqmark(*TINY, *words, cwd=cls.shared.name)
            assert result.returncode == 0, result.stderr
        db = sqlite3.connect(cls.store)
        cls.change(db)
        db.commit()
        db.close()

    @classmethod
    def tearDownClass(cls):
        cls.shared.cleanup()

    def setUp(self):
        super().setUp()
        shutil.copy(self.store, self.path("seqmark.db"))


class Compare(Copies):
    """Two campaigns of two cells and four replicates, whose times are set by hand."""
    campaigns = [("--label", label, "--replicates", "4", "--seed", "1") for label in ("before", "after")]

    @classmethod
    def change(cls, db):
        db.execute("UPDATE run SET status = 'ok', reason = '', median_ns = 1e5 + 1e3 * replicate + "
                   "2e4 * (SELECT label = 'after' FROM campaign c WHERE c.campaign_id = "
                   "run.campaign_id)")

    def rows(self, *words):
        return list(csv.DictReader(io.StringIO(self.fine("compare", *words, "-o", "csv").stdout)))

    def test_two_campaigns(self):
        rows = self.rows("before", "after")
        self.assertEqual({r["key"] for r in rows}, {KEY, KEY.replace("L=8,", "L=16,")})
        for r in rows:
            self.assertAlmostEqual(float(r["ratio"]), 121.5 / 101.5, 9)
            self.assertLess(float(r["ratio_lo"]), 121.5 / 101.5)
            self.assertGreater(float(r["ratio_hi"]), 121.5 / 101.5)
            self.assertAlmostEqual(float(r["rank_p"]), 2 / 70, 9)
            self.assertEqual((r["runs_a"], r["runs_b"], r["missing"]), ("4", "4", ""))
        self.assertAlmostEqual(float(self.rows("latest", "latest~1")[0]["ratio"]), 101.5 / 121.5, 9)

    def test_halves_of_one_campaign(self):
        rows = self.rows("before:even", "before:odd", "--filter", "L<16")
        self.assertEqual([r["key"] for r in rows], [KEY])
        self.assertAlmostEqual(float(rows[0]["ratio"]), 102 / 101, 9)
        self.assertEqual(rows[0]["runs_a"], "2")

    def test_forms(self):
        table = self.fine("compare", "before:odd", "before:even").stdout
        self.assertTrue(table.startswith("a: before:odd, b: before:even; ratio: b over a\n"))
        self.assertRegex(table, r"bound otherwise, 20 us and more +time +1 % +2 +100 *\n")
        self.assertIn("## operators", self.fine("compare", "before", "after", "-o", "md").stdout)
        document = json.loads(self.fine("compare", "before", "after", "-o", "json").stdout)
        self.assertEqual(list(document), ["cells", "operators", "bounds", "missing"])
        self.assertEqual(document["operators"][0]["cells"], 2)
        lines = self.fine("compare", "before", "after", "-o", "jsonl").stdout.splitlines()
        self.assertEqual([json.loads(line) for line in lines], document["cells"])

    def test_the_bootstrap_repeats_itself(self):
        first, second = self.rows("before", "after"), self.rows("before", "after")
        self.assertEqual(first, second)
        self.assertNotEqual(first[0]["boot_lo"], "")
        self.assertEqual(self.rows("before", "after", "--bootstrap", "0")[0]["boot_lo"], "")

    def test_other_ground_is_refused_unless_asked_for(self):
        db = sqlite3.connect(self.path("seqmark.db"))
        db.execute("UPDATE campaign SET policy = json_set(policy, '$.rest', 9.0) WHERE label = 'after'")
        db.commit()
        db.close()
        self.refused("compare", "before", "after",
                     says=["before and after differ in policy: rest 4.0 and 9.0; --across policy"])
        self.refused("compare", "before", "after", "--across", "polcy", says=['"policy"'])
        self.refused("compare", "before", "--by", "provider", "--across", "cache", says=["same cache"])
        row = self.rows("before", "after", "--across", "policy")[0]
        self.assertEqual(row["across"], "policy: rest 4.0 and 9.0")
        self.assertIn("; across policy: rest 4.0 and 9.0\n",
                      self.fine("compare", "before", "after", "--across", "policy").stdout)

    def test_missing_cells_are_listed(self):
        db = sqlite3.connect(self.path("seqmark.db"))
        db.execute("UPDATE run SET status = 'oom', reason = 'too big', median_ns = NULL WHERE "
                   "campaign_id = 2 AND cell_id = (SELECT cell_id FROM cell WHERE key = ?)", (KEY,))
        db.commit()
        db.close()
        document = json.loads(self.fine("compare", "before", "after", "-o", "json").stdout)
        self.assertEqual(document["missing"], [{"side": "after", "why": "oom: too big", "cell": KEY}])

    def test_providers(self):
        result = self.fine("compare", "before", "--by", "provider")
        self.assertIn("no cell was measured with two providers", result.stderr)
        db = sqlite3.connect(self.path("seqmark.db"))
        db.execute("UPDATE cell SET provider = 'cpu/two', key = replace(key, 'cpu/ref', 'cpu/two') "
                   "WHERE key = ?", (KEY,))
        db.execute("UPDATE cell SET key = ? WHERE provider = 'cpu/ref'", (KEY,))
        db.commit()
        db.close()
        rows = self.rows("before", "--by", "provider", "--reference", "cpu/two")
        self.assertEqual([(r["provider"], r["reference"]) for r in rows], [("cpu/ref", "cpu/two")])
        self.refused("compare", "before", "--by", "provider", "--reference", "cpu/tow",
                     says=['"cpu/two"'])

    def test_refusals(self):
        self.refused("compare", "befor", "after", says=["unknown campaign", '"before"'])
        self.refused("compare", "before:odd", "aftr:even", says=['"after"'])
        self.refused("compare", "before:od", "after", says=['"before"'])
        self.fine(*TINY, "--label", "single")
        self.refused("compare", "single:even", "single:odd", says=["single:odd has no run with a time"])
        self.refused("compare", "before", "after", "--filter", "L>1k", says=["filter"])
        self.refused("compare", "before", "after", "--filter", "L>", says=["column 3"])
        self.refused("compare", "before", says=["two sides, not 1"])
        self.refused("compare", "a", "b", "c", says=["two sides, not 3"])
        self.refused("compare", "before", "after", "--by", "provider", says=["one campaign, not 2"])
        self.refused("compare", "before", "--by", "provder", says=["provider"])
        self.refused("compare", "before", "after", "--reference", "cpu/ref", says=["--by provider"])
        self.refused("compare", "before", "after", "--bootstrap", "1.5", says=["bootstrap"])
        self.refused("compare", "before", "after", "-o", "jsno", says=["json"])
        self.refused("compare", "before", "after", "--db", self.path("none.db"), says=["none.db"])


class History(Copies):
    """One campaign of two cells and two replicates, copied to twelve nights of which the last four
    are 10 % slower, by hand."""
    campaigns = [("--label", "night", "--replicates", "2")]

    @classmethod
    def change(cls, db):
        db.row_factory = sqlite3.Row
        db.execute("UPDATE run SET status = 'ok', reason = '', median_ns = 1e5 + 100 * replicate")
        campaign = dict(db.execute("SELECT * FROM campaign").fetchone())
        runs = [dict(row) for row in db.execute("SELECT * FROM run")]
        for night in range(1, 12):
            cls.put(db, "campaign", {**campaign, "campaign_id": 100 + night,
                                     "uuid": f"{night:08d}-aaaa", "git_commit": f"commit{night}", "git_dirty": 0,
                                     "started": campaign["started"] + 86400 * night,
                                     "turn": campaign["turn"] + 86400 * night})
            for run in runs:
                ns = run["median_ns"] * (1.1 if night > 7 else 1) * (1 + 1e-4 * (night % 3))
                cls.put(db, "run", {**run, "run_id": None, "campaign_id": 100 + night,
                                    "uuid": f"{night}-{run['run_id']}", "median_ns": ns})

    @staticmethod
    def put(db, table, row):
        db.execute(f"INSERT INTO {table}({','.join(row)}) VALUES({','.join('?' * len(row))})",
                   list(row.values()))

    def rows(self, *words):
        return json.loads(self.fine("history", *words, "-o", "json").stdout)

    def test_a_cell_by_key_hash_and_run(self):
        rows = self.rows(KEY)
        self.assertEqual(len(rows), 12)
        self.assertEqual({r["key"] for r in rows}, {KEY})
        self.assertEqual([r["segment"] for r in rows], [0] * 8 + [1] * 4)
        self.assertAlmostEqual(rows[8]["change"], 1.1, 3)
        self.assertTrue(rows[8]["remark"].startswith("change +"))
        self.assertEqual([r["runs"] for r in rows], [2] * 12)
        db = sqlite3.connect(self.path("seqmark.db"))
        cell, run = db.execute("SELECT hash, run_id FROM run JOIN cell USING (cell_id) "
                               "WHERE key = ? ORDER BY run_id LIMIT 1", (KEY,)).fetchone()
        db.close()
        self.assertEqual(self.rows(cell[:12]), rows)
        self.assertEqual(self.rows(str(run)), rows)

    def test_all_cells(self):
        rows = self.rows()
        self.assertEqual({r["key"] for r in rows}, {KEY, KEY.replace("L=8,", "L=16,")})
        for r in rows:
            self.assertEqual((r["nights"], r["changes"], r["is_gone"]), (12, 1, 0))
            self.assertEqual((r["last_good_commit"], r["first_bad_commit"]), ("commit7", "commit8"))
        self.assertEqual([r["key"] for r in self.rows("--filter", "L==8")], [KEY])
        self.assertEqual(self.rows("--label", "night", "--since", "100d"), rows)
        result = self.fine("history", "--min-change", "20")
        self.assertIn("2 cells in 12 campaigns, 0 with a change", result.stderr)

    def test_forms(self):
        table = self.fine("history", KEY).stdout
        self.assertTrue(table.startswith(KEY + "\n"), table)
        self.assertIn("commit7..commit8", table)
        self.assertIn("## ", self.fine("history", KEY, "-o", "md").stdout)
        lines = self.fine("history", KEY, "-o", "jsonl").stdout.splitlines()
        self.assertEqual([json.loads(line) for line in lines], self.rows(KEY))
        header = self.fine("history", "-o", "csv").stdout.splitlines()[0]
        self.assertTrue(header.startswith("key,device,nights"), header)

    def test_the_page(self):
        result = self.fine("history", "--html", self.path("out/h"))
        self.assertEqual(last_line(result), self.path("out/h/history.html"))
        with open(self.path("out/h/history.html"), encoding="utf-8") as page:
            text = page.read()
        self.assertEqual(text.count("<svg class=\"spark\""), 2)
        self.assertNotIn("http", text)

    def test_another_policy_is_not_joined_unless_asked_for(self):
        db = sqlite3.connect(self.path("seqmark.db"))
        db.execute("UPDATE campaign SET policy = json_set(policy, '$.rest', 9.0) "
                   "WHERE campaign_id > 107")
        db.commit()
        db.close()
        rows = self.rows(KEY)
        self.assertEqual([r["track"] for r in rows], [0] * 8 + [1] * 4)
        self.assertEqual(rows[8]["remark"], "policy: rest 4.0 and 9.0")
        self.assertIsNone(rows[8]["change"])
        self.assertIn("are not joined", self.fine("history").stderr)
        joined = self.rows(KEY, "--across", "policy")
        self.assertAlmostEqual(joined[8]["change"], 1.1, 3)
        self.assertIn("policy: rest 4.0 and 9.0 (joined)", joined[8]["remark"])

    def test_refusals(self):
        self.refused("history", "rmsnrm", says=["unknown run or cell"])
        self.refused("history", KEY, KEY, says=["one cell, not 2"])
        self.refused("history", KEY, "--filter", "L==8", says=["--filter"])
        self.refused("history", "--filter", "L==", says=["column"])
        self.refused("history", "--filter", "L==9", says=["no timed run", "filter"])
        self.refused("history", "--suite", "weekly", says=['suite "weekly"'])
        self.refused("history", "--across", "drivr", says=['"driver"'])
        self.refused("history", "--across", "cache", says=["one cache, launch and clock mode"])
        for date in ("yesterday", "2026-02-30", "2026-1-01", "d", "-3d", ""):
            self.refused("history", "--since", date, says=["since: "])
        self.refused("history", "--min-change", "little", says=["min-change"])
        self.refused("history", "--html", self.path("seqmark.db"), says=["seqmark.db"])
        self.refused("history", "-o", "jsno", says=["json"])


class Profile(Folder):
    """On the CPU there are no counters, and a page all the same."""
    QUICK = ["--policy", "quick", "--timeout", "60s"]

    def page(self):
        (page,) = pathlib.Path(self.path("out/profile")).glob("*.html")
        return page.read_text("utf-8")

    def test_a_key_is_measured_and_shown(self):
        result = self.fine("profile", KEY, *self.QUICK, "--seed", "5")
        self.assertIn("Undecided: no unit was counted", " ".join(result.stdout.split()))
        self.assertIn("there are counters on CUDA devices only", self.page())
        db = sqlite3.connect(self.path("seqmark.db"))
        self.assertEqual(db.execute("SELECT suite, seed, state FROM campaign").fetchall(),
                         [("profile", "5", "finished")])
        self.assertEqual(db.execute("SELECT key FROM cell").fetchall(), [(KEY,)])
        db.close()

    def test_a_stored_cell_by_hash_and_run_by_id(self):
        self.fine(*TINY, "--width", "8", "--seqlen", "8")
        db = sqlite3.connect(self.path("seqmark.db"))
        ((key, digest),) = db.execute("SELECT key, hash FROM cell").fetchall()
        for what in (digest[:10], key, "1"):
            shown = json.loads(self.fine("profile", what, "--stored", "-o", "json").stdout)
            self.assertEqual((shown["cell"], shown["run_id"]), (key, 1))
        self.assertIn("Profile of rmsnorm", self.page())
        self.fine("profile", digest[:10], *self.QUICK)  # measures it anew, at the same width
        self.assertEqual(db.execute("SELECT count(*), count(DISTINCT value) FROM value WHERE "
                                    "metric = 'width'").fetchone(), (2, 1))
        self.assertEqual(db.execute("SELECT count(*) FROM cell").fetchone(), (1,))
        db.close()

    def test_every_format(self):
        self.fine(*TINY, "--seqlen", "8")
        for form in ("table", "md", "csv", "json", "jsonl"):
            text = self.fine("profile", "1", "--stored", "-o", form).stdout
            self.assertIn("device" if form == "table" else "flops", text)
        self.assertEqual(self.fine("profile", "1", "--stored", "-o", "html").stdout, self.page())
        shown = json.loads(self.fine("profile", "1", "--stored", "-o", "json").stdout)
        self.assertEqual(shown["verdict"]["kind"], "undecided")
        self.assertIsNone(shown["verdict"]["use_pct"]["DRAM"])
        self.assertGreater(shown["median_ns"], 0)
        self.assertEqual({v["validity"] for v in shown["values"] if v["metric"] == "flops"},
                         {"ok"})

    def test_without_gnuplot_there_are_tables(self):
        self.fine(*TINY, "--seqlen", "8")
        result = self.fine("profile", "1", "--stored", "--gnuplot", "/nowhere/gnuplot")
        self.assertIn("tables only", result.stderr)
        self.assertNotIn("<img", self.page())

    def test_what_is_not_there(self):
        self.refused("profile", "1", "--stored", says=["seqmark.db"])
        self.refused("profile", "0123abcd", says=["seqmark.db"])
        self.refused("profile", KEY.replace("rmsnorm", "rmsnrom"), says=["rmsnorm"])
        self.refused("profile", KEY.replace("cpu/ref", "cpu/rev"), "--device", "cpu",
                     says=["cpu/ref"])
        self.refused("profile", KEY.replace("cpu/ref", "cuda/naive"), code=5, says=["device 0"])
        self.assertEqual(os.listdir(self.folder), [])
        self.fine(*TINY, "--seqlen", "8")
        self.refused("profile", "77", "--stored", says=["77"])
        self.refused("profile", KEY[:-2], "--stored", says=[KEY])
        self.assertEqual(os.listdir(self.folder), ["seqmark.db"])

    def test_words_that_do_not_fit(self):
        self.refused("profile", says=["takes one cell"])
        self.refused("profile", "a", "b", says=["takes one cell"])
        self.refused("profile", KEY, "--sustain", "soon", says=["--sustain", "10s"])
        self.refused("profile", KEY, "--sustain", "0", says=["--sustain"])
        self.refused("profile", KEY, "--sustain", "2h", says=["--sustain"])
        self.refused("profile", KEY, "--counters", "rooflin", says=["roofline"])
        for words in (["--sustain", "1s"], ["--timeline"], ["--counters", "all"],
                      ["--device", "cpu"]):
            self.refused("profile", "1", "--stored", *words, says=["--stored", words[0]])
        self.refused("profile", KEY, "--seed", "x", says=["seed"])
        self.refused("profile", KEY, "-o", "jsno", says=["json"])
        self.assertEqual(os.listdir(self.folder), [])


class Terminal(Folder):
    def talk(self, columns):
        parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
        process = subprocess.Popen([str(SEQMARK), *TINY], cwd=self.folder, stderr=child,
                                   stdout=subprocess.DEVNULL)
        os.close(child)
        text = b""
        while True:
            try:
                chunk = os.read(parent, 65536)
            except OSError:  # a closed terminal reads as an error
                chunk = b""
            if not chunk:
                break
            text += chunk
        os.close(parent)
        self.assertEqual(process.wait(), 0)
        return text

    def test_progress_fits_a_narrow_terminal(self):
        text = self.talk(40)
        rewritten = text.split(b"\n")[1].split(b"\r")
        self.assertIn(b"[2/2]", b"".join(rewritten))
        for line in (r for r in rewritten if r.startswith(b"[")):
            self.assertLess(len(line), 40, line)

    def test_progress_is_one_line_that_is_rewritten(self):
        text = self.talk(0)
        self.assertIn(b"\r[1/2] 0 failed, ETA ", text)
        self.assertNotIn(b"\x1b", text)
        self.assertLess(text.count(b"\n"), 6)
        self.assertIn(b"exit 0: 2 runs", text.splitlines()[-1])


class Lists(Folder):
    def test_every_kind_in_every_format(self):
        for kind in ("operators", "families", "suites", "metrics", "axes"):
            for form in ("table", "md", "csv"):
                self.assertGreater(len(self.fine("list", kind, "-o", form).stdout.splitlines()), 3)
            short = json.loads(self.fine("list", kind, "-o", "json").stdout)
            long = json.loads(self.fine("list", kind, "--long", "-o", "json").stdout)
            self.assertEqual(len(short), len(long))
            if kind != "providers":
                self.assertGreater(len(long[0]), len(short[0]))

    def test_without_a_kind_it_is_one_document(self):
        both = json.loads(self.fine("list", "-o", "json").stdout)
        self.assertEqual([len(both[k]) for k in ("operators", "families")],
                         [len(json.loads(self.fine("list", k, "-o", "json").stdout))
                          for k in ("operators", "families")])
        for line in self.fine("list", "-o", "jsonl").stdout.splitlines():
            json.loads(line)

    def test_providers_of_the_cpu(self):
        result = self.fine("list", "providers", "--device", "cpu", "-o", "json")
        self.assertEqual({r["provider"] for r in json.loads(result.stdout)}, {"cpu/ref"})

    def test_doctor_on_this_machine(self):
        result = self.fine("doctor", "--device", "cpu", "-o", "json")
        states = {r["check"]: r["state"] for r in json.loads(result.stdout)}
        self.assertEqual(states["cpu backend"], "ok")
        self.assertEqual(states["store"], "ok")
        self.refused("doctor", "--device", "0", code=5, says=["gpu"])


def write_golden():
    GOLDEN.mkdir(parents=True, exist_ok=True)
    (GOLDEN / "seqmark.txt").write_text(seqmark("--help").stdout, "utf-8")
    for name in COMMANDS:
        (GOLDEN / f"{name}.txt").write_text(seqmark(name, "--help").stdout, "utf-8")


if __name__ == "__main__":
    if sys.argv[3:] == ["--write"]:
        write_golden()
    else:
        unittest.main(argv=sys.argv[:1])
