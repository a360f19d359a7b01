#!/usr/bin/env python3
"""`seqmark nightly`, the whole of it on workers that are told what has changed (fake_night.py): what is
found, confirmed, dismissed; what ends a night early, and how it goes on.

usage: test_nightly.py SOURCE_DIR BINARY_DIR
"""
import csv
import io
import os
import pathlib
import re
import signal
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
from campaigns import BINARIES, SEQMARK
from nights import SLOW, SUITE, Night


class WithProgram(Night):
    def test_the_same_code_is_never_a_regression(self):
        result = self.nightly(code=0)
        self.assertIn("32 cells beside main: 32 unchanged", self.last_line(result))
        self.assertEqual(self.rows("SELECT exit_code, sentinels, sentinel_alarms FROM gate"),
                         [(0, 2, 0)])
        self.assertIn("false alarms: 0 of 2 sentinels of the last 1 night (0.00 %, 95 % interval "
                      "0.00 to 84.19)", result.stderr)
        self.assertEqual(self.rows("SELECT count(*) FROM v_verdict WHERE role = 'sentinel'"), [(2,)])
        self.nightly(code=0)
        self.assertEqual(self.rows("SELECT sum(sentinels) FROM gate"), [(4,)])

    def test_the_limit_of_the_suite_is_that_of_its_night(self):
        """A quarter of the baseline's cells is measured."""
        pathlib.Path(self.suite).write_text(SUITE + "max-inconclusive: 100%\n", encoding="utf-8")
        self.nightly("--filter", "L==64", code=0)
        self.nightly("--filter", "L==64", "--max-inconclusive", "50%", code=3)

    def test_sentinels_of_one_run_are_asked_nothing(self):
        result = self.nightly("--replicates", "1", code=3)
        self.assertIn("too many cells are", self.last_line(result))
        self.assertNotIn("sentinels", result.stderr)
        self.assertEqual(self.rows("SELECT sentinels FROM gate"), [(0,)])

    def test_a_slowdown_is_found_and_confirmed_and_nothing_else_is(self):
        result = self.nightly(code=2, times={SLOW: 1.03}, hash={SLOW: "b" * 16})
        last = self.last_line(result)
        self.assertIn("confirmed regression; 32 cells beside main: 4 confirmed, 28 unchanged", last)
        self.assertIn(SLOW, last)
        self.assertEqual(self.confirmed(), {"confirmed": 4})
        keys = self.rows("SELECT DISTINCT key FROM v_verdict WHERE confirmed = 'confirmed'")
        self.assertTrue(all(SLOW in key for (key,) in keys), keys)
        self.check_blocks()

    def check_blocks(self):
        """Ten blocks A B B A of the four suspects, each run in a process of its own."""
        again = self.rows("SELECT r.cell_id, r.replicate, r.started, c.campaign_id = g.rerun_id "
                          "FROM gate g JOIN campaign c ON c.campaign_id IN (g.rerun_id, "
                          "g.baseline_rerun_id) JOIN run r ON r.campaign_id = c.campaign_id")
        self.assertEqual(len(again), 4 * 40)
        runs = [r for r in self.requests() if r["do"] == "run" and SLOW in r["cell"]][-160:]
        order = ["AB"["night.json" in r["night"]] for r in runs]
        self.assertEqual("".join(order[::4]), "ABBA" * 10)
        self.assertEqual(len({(r["pid"], r["cell"]) for r in runs}), 160)
        self.assertEqual(self.rows("SELECT suite, count(*) FROM campaign GROUP BY 1 ORDER BY 1"),
                         [("confirm", 2), ("small", 2)])
        self.must("night", "show", "latest")  # is the night, not what was measured again
        self.assertIn("small", self.seqmark("night", "show", "latest").stdout)

    def test_what_was_slow_for_one_night_is_dismissed(self):
        """The night is slow, and the same program is not when it is measured again."""
        self.nightly("--max-suspects", "0", code=3, times={SLOW: 1.05})
        process = self.start("--label", "late", times={SLOW: 1.05})
        self.wait_until(lambda: self.rows("SELECT count(*) FROM campaign WHERE label = 'late' AND "
                                          "state = 'finished'") == [(1,)])
        self.tell("night")
        _, talk = process.communicate(timeout=300)
        self.assertIn(process.returncode, (0, 3), talk)
        self.assertEqual(set(self.confirmed()) - {"dismissed", "unresolved"}, set())

    def test_memory_and_registers_are_confirmed(self):
        self.nightly(code=2, peak={SLOW: 1.01}, registers={"L=256,D=512": 33})
        self.assertEqual(dict(self.rows("SELECT metric, count(*) FROM v_verdict WHERE "
                                        "confirmed = 'confirmed' GROUP BY 1")),
                         {"peak_bytes": 4, "registers": 4})

    def test_one_percent_of_bytes_is_confirmed(self):
        """Of cells that move 100 MB, whose counts lie 0.1 % apart; by as many runs as are counted."""
        noise = {"dram_cv": 0.0005, "dram_range": 0.001}
        self.tell("base", **noise)
        result = self.nightly(code=2, dram={SLOW: 1.01}, **noise)
        self.assertIn("4 confirmed, 28 unchanged", self.last_line(result))
        self.assertEqual(self.rows("SELECT metric, count(*) FROM v_verdict WHERE confirmed = "
                                   "'confirmed' GROUP BY 1"), [("dram_bytes", 4)])
        self.assertEqual(self.rows("SELECT count(*), count(DISTINCT cell_id) FROM run JOIN campaign "
                                   "USING (campaign_id) WHERE suite = 'confirm'"), [(4 * 12, 4)])

    def test_a_change_that_launches_of_one_run_span_is_no_suspect(self):
        self.tell("night", dram={SLOW: 1.01}, dram_range=0.011)
        self.nightly(code=0)

    def test_bytes_that_only_vary_are_no_regression(self):
        self.tell("base", dram_cv=0.02)
        self.tell("night", dram_cv=0.02)
        result = self.seqmark("night", "nightly", *self.words("-o", "csv"))
        self.assertIn(result.returncode, (0, 3), result.stderr)
        rows = [row for row in csv.DictReader(io.StringIO(result.stdout))
                if row["verdict"] == "suspect_larger"]
        self.assertGreater(len(rows), 0)
        self.assertLessEqual({row["confirmed"] for row in rows}, {"dismissed", "unresolved"})

    def test_bytes_of_which_one_count_came_back_confirm_nothing(self):
        """One in the campaign, and one of the six of its rerun."""
        result = self.nightly(code=3, dram={SLOW: 1.01}, counts=2)
        self.assertIn("4 unresolved, 28 unchanged", self.last_line(result))
        self.assertEqual(self.confirmed(), {"unresolved": 4})

    def test_a_cell_that_fails_again_is_a_regression(self):
        result = self.nightly(code=2, result={"L=64,D=256": "error"})
        self.assertIn("4 confirmed", self.last_line(result))
        self.assertEqual(self.rows("SELECT count(*) FROM run r JOIN gate g ON r.campaign_id = g.rerun_id"),
                         [(4,)])

    def test_a_cell_that_fails_once_is_not(self):
        result = self.nightly("--allow-failed", "1", code=0, once=True,
                              result={"B=1,L=64,D=256": "error"})
        self.assertIn("31 unchanged", self.last_line(result))

    def test_a_cell_that_lacks_memory_is_a_regression(self):
        self.nightly(code=2, result={"B=1,L=64,D=256": "oom"})

    def test_wrong_numbers_end_before_all_regressions(self):
        result = self.nightly(code=4, times={SLOW: 1.05}, hash={SLOW: "b" * 16},
                              result={"L=64,D=256": "wrong"})
        self.assertIn("4 wrong, 4 confirmed", self.last_line(result))

    def test_unchanged_code_that_moved_is_unfit_and_measures_nothing_again(self):
        result = self.nightly(code=5, times={"": 1.03})
        self.assertIn("32 cells of unchanged code moved by +", self.last_line(result))
        self.assertEqual(self.rows("SELECT count(*) FROM campaign"), [(2,)])
        self.nightly(code=5, others=2)

    def test_a_driver_of_its_own_is_refused_before_anything_is_measured(self):
        result = self.nightly(code=5, driver="590")
        self.assertIn("this machine and main differ in driver: 590 and 580", self.last_line(result))
        self.assertEqual(self.rows("SELECT count(*) FROM campaign"), [(1,)])
        self.nightly("--across", "driver", code=0, driver="590")

    def test_others_on_the_gpu_are_refused_before_anything_is_measured(self):
        nvml = BINARIES / "tests/libfake_nvml.so"
        if not nvml.exists():
            self.skipTest("the fake driver library is not built")
        result = self.seqmark("night", "nightly", *self.words(), SEQMARK_NVML=str(nvml),
                              FAKE_NVML="processes=1,2")
        self.assertEqual(result.returncode, 5, result.stderr)
        self.assertIn("gpu processes: 2 others compute", self.last_line(result))

    def test_a_changed_program_confirms_nothing(self):
        (worker,) = pathlib.Path(self.db + "-trees").glob("*/bin/seqmark-worker")
        worker.write_text(worker.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        result = self.nightly(code=3, times={SLOW: 1.03}, hash={SLOW: "b" * 16})
        self.assertIn("was changed", self.last_line(result))
        self.assertEqual(result.stderr.count("was changed: suspects will stay unresolved"), 1)

    def test_a_night_that_its_budget_ends_is_judged_again_when_there_is_more(self):
        words = ["--sentinels", "0"]
        result = self.nightly(*words, "--budget", "700ms", code=3, seconds={"": 0.05})
        self.assertIn("missing", self.last_line(result))
        left = re.findall(r"(\d+) (?:missing|not compared)", self.last_line(result))
        self.assertEqual(sum(map(int, left)), 32)
        result = self.nightly(*words, "--resume", code=0)
        self.assertIn("32 unchanged", self.last_line(result))
        result = self.nightly(*words, "--resume", code=0)
        self.assertIn("was judged already: as good or better", self.last_line(result))
        self.assertEqual(self.rows("SELECT exit_code FROM gate ORDER BY gate_id"), [(3,), (0,)])
        self.assertEqual(self.rows("SELECT count(*) FROM campaign"), [(2,)])

    def test_a_night_that_was_judged_is_told_again(self):
        def files(name):
            return ["-o", "json", "--junit", f"{name}.xml", "--markdown", f"{name}.md", "--html", name]
        def written(name):
            folder = pathlib.Path(self.folder.name)
            return [(folder / path).read_text(encoding="utf-8")
                    for path in (f"{name}.xml", f"{name}.md", f"{name}/index.html")]
        slow = {"times": {SLOW: 1.03}, "hash": {SLOW: "b" * 16}, "result": {"B=1,L=64,D=256": "oom"}}
        first = self.nightly(*files("first"), code=2, **slow)
        runs = self.rows("SELECT count(*) FROM run")
        again = self.nightly(*files("again"), "--resume", code=2)
        self.assertIn("was judged already: confirmed regression; 32 cells", self.last_line(again))
        self.assertEqual(again.stdout, first.stdout)
        self.assertEqual(written("again"), written("first"))
        self.assertEqual((self.rows("SELECT count(*) FROM run"), self.rows("SELECT count(*) FROM gate")),
                         (runs, [(1,)]))
        (name, _) = next(iter(self.rows("SELECT substr(verdict_uuid, 1, 8), key FROM v_verdict WHERE "
                                        "confirmed = 'confirmed' AND metric = 'time'")))
        self.must("night", "ack", name, "--reason", "a new tile")
        again = self.nightly(*files("again"), "--resume", code=2)
        self.assertIn("a new tile", written("again")[0])
        other = self.nightly("--resume", "--min-effect", "5%", "--junit", "other.xml", code=2)
        self.assertIn("judged by other limits", other.stderr)
        self.assertFalse(pathlib.Path(self.folder.name, "other.xml").exists())

    def test_the_hook_is_told(self):
        hook = os.path.join(self.folder.name, "the hook")
        pathlib.Path(hook).write_text("#!/bin/sh\nprintf '%s|%s|%s|' \"$1\" \"$SEQMARK_EXIT_CODE\" "
                                      "\"$SEQMARK_LINE\" > told\n", encoding="utf-8")
        os.chmod(hook, 0o755)
        result = self.nightly("--hook", f"'{hook}' two\\ words", code=0)
        told = pathlib.Path(self.folder.name, "told").read_text(encoding="utf-8").split("|")
        self.assertEqual(told[:2], ["two words", "0"])
        self.assertEqual(told[2], self.last_line(result))
        result = self.seqmark("night", "nightly", *self.words("--baseline", "nobody", "--hook",
                                                              "/nowhere/hook"))
        self.assertEqual(result.returncode, 1)
        self.assertIn("the hook /nowhere/hook could not be run", result.stderr)
        self.assertIn("nobody", self.last_line(result))

    def test_words_that_cannot_be(self):
        for words in (["--hook", "'open"], ["--hook", " "], ["--sentinels", "7"],
                      ["--max-suspects", "x"], ["-o", "html"], ["word"]):
            result = self.seqmark("night", "nightly", *self.words(*words))
            self.assertEqual(result.returncode, 1, words)
        result = self.seqmark("night", "nightly", "--suite", self.suite)
        self.assertIn("--baseline NAME must be given", self.last_line(result))
        self.assertEqual(self.rows("SELECT count(*) FROM campaign"), [(1,)])


class WithoutProgram(Night):
    keeps_program = False

    def test_suspects_stay_unresolved(self):
        result = self.nightly(code=3, times={SLOW: 1.03}, hash={SLOW: "b" * 16})
        self.assertIn("no program is kept for baseline main", self.last_line(result))
        self.assertEqual(self.confirmed(), {"unresolved": 4})
        self.assertEqual(self.rows("SELECT count(*) FROM campaign"), [(2,)])

    def test_a_cell_that_fails_again_is_a_regression_all_the_same(self):
        self.nightly(code=2, result={"B=1,L=64,D=256": "crash"}, times={SLOW: 1.03})
        self.assertEqual(self.confirmed(), {"confirmed": 1, "unresolved": 4})


class Interrupted(Night):
    """Killed or told to end in each of its phases, it goes on where it was."""

    def end_by(self, number, phase):
        process = self.start(**self.SLOWED)
        self.wait_until(phase)
        process.send_signal(number)
        _, talk = process.communicate(timeout=120)
        self.assert_no_process_is_left()
        return process.returncode, talk

    def check_resumed(self):
        result = self.nightly("--resume", code=2)
        self.assertIn("4 confirmed, 28 unchanged", self.last_line(result))
        self.assertEqual(self.rows("SELECT count(*), sum(exit_code) FROM gate"), [(1, 2)])
        self.assertEqual(self.rows("SELECT suite, count(*) FROM campaign GROUP BY 1 ORDER BY 1"),
                         [("confirm", 2), ("small", 2)])
        self.assertEqual(self.rows("SELECT count(*), count(DISTINCT campaign_id || '.' || cell_id "
                                   "|| '.' || replicate) FROM run"),
                         [(2 * 160 + 10 + 160,) * 2])
        self.assertEqual(self.rows("PRAGMA integrity_check"), [("ok",)])
        result = self.nightly("--resume", code=2)
        self.assertIn("was judged already: confirmed regression", self.last_line(result))

    def test_told_to_end_in_the_campaign(self):
        code, talk = self.end_by(signal.SIGINT, self.in_campaign)
        self.assertEqual(code, 130, talk)
        self.assertIn("exit 130: interrupted;", talk.strip().splitlines()[-1])
        self.assertEqual(self.rows("SELECT count(*) FROM gate"), [(0,)])
        self.check_resumed()

    def test_told_to_end_in_the_confirmation(self):
        code, talk = self.end_by(signal.SIGTERM, self.in_confirmation)
        self.assertEqual(code, 130, talk)
        self.assertIn("still to be confirmed", talk.strip().splitlines()[-1])
        self.assertEqual(self.rows("SELECT count(*), count(exit_code) FROM gate"), [(1, 0)])
        self.assertEqual(self.confirmed(), {"pending": 4})
        self.check_resumed()

    def test_a_look_at_it_meanwhile_does_not_end_it(self):
        self.end_by(signal.SIGINT, self.in_confirmation)
        look = self.seqmark("night", "gate", "baseline:main", "latest")
        self.assertEqual(look.returncode, 3, look.stderr)
        self.assertEqual(self.rows("SELECT count(*), count(exit_code) FROM gate"), [(2, 1)])
        result = self.nightly("--resume", code=2)
        self.assertIn("4 confirmed, 28 unchanged", self.last_line(result))

    def test_killed_in_the_campaign(self):
        self.end_by(signal.SIGKILL, self.in_campaign)
        self.check_resumed()

    def test_killed_in_the_confirmation(self):
        self.end_by(signal.SIGKILL, self.in_confirmation)
        self.check_resumed()

    def test_a_second_night_is_told_who_has_the_gpu(self):
        process = self.start(**self.SLOWED)
        self.wait_until(self.in_campaign)
        result = self.seqmark("night", "nightly", *self.words())
        self.assertEqual(result.returncode, 5, result.stderr)
        self.assertIn(f"is in use by process {process.pid}", self.last_line(result))
        process.communicate(timeout=300)
        self.assertEqual(process.returncode, 2)

    def test_a_second_night_on_one_store_is_told_who_writes_to_it(self):
        """On another GPU, or without one: here by another folder of locks."""
        process = self.start(**self.SLOWED)
        self.wait_until(self.in_campaign)
        elsewhere = os.path.join(self.folder.name, "elsewhere")
        os.mkdir(elsewhere)
        result = self.seqmark("night", "nightly", *self.words(), SEQMARK_LOCK_DIR=elsewhere)
        self.assertEqual(result.returncode, 5, result.stderr)
        self.assertIn(f"locked by another process ({process.pid})", self.last_line(result))
        process.communicate(timeout=300)
        self.assertEqual(process.returncode, 2)

    def test_a_full_disk_ends_it_and_it_goes_on(self):
        """A limit on the size of files stands in for the disk."""
        size = os.path.getsize(self.db)
        self.tell("night", **self.SLOWED)
        words = " ".join(f"'{word}'" for word in [str(SEQMARK), "nightly", "--db", self.db,
                                                  *self.words()])
        result = subprocess.run(["bash", "-c", f"trap '' XFSZ; ulimit -f {size // 1024 + 60}; {words}"],
                                env=self.environment("night"), cwd=self.folder.name,
                                capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assert_no_process_is_left()
        self.assertEqual(self.rows("PRAGMA integrity_check"), [("ok",)])
        self.check_resumed()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
