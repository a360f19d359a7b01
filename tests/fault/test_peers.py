#!/usr/bin/env python3
"""Peers beside our own cells, end to end on the CPU (fake_peer.py): an honest one is timed, proved and
stored as ours are; one that crashes, hangs, babbles or lies is a row that says so, the campaign goes on
and no process is left.

usage: test_peers.py SOURCE_DIR BINARY_DIR
"""
import json
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(sys.argv[1])
SEQMARK = pathlib.Path(sys.argv[2]) / "seqmark"
FAKE = SOURCE / "tests/fault/fake_peer.py"
SHIPPED = SOURCE / "bench/external"
LIBRARY = SEQMARK.parent / "libseqmark_time.so"
BOTH = "cpu/ref,external:fake/plain"
CELLS = ["--op", "rmsnorm", "--dtype", "f32", "--seqlen", "4,8,16", "--channels", "8", "--device",
         "cpu", "--max-samples", "10", "--warmup-time", "1ms", "--max-interval", "1000"]
HIT = "L=8,"  # the cell that the peer spoils


def sanitizers():
    """A library built with AddressSanitizer loads into Python only if its runtime came first; Python
    itself leaks."""
    needed = subprocess.run(["ldd", LIBRARY], capture_output=True, text=True, check=True).stdout
    runtime = re.search(r"=> (\S*libasan\S*)", needed)
    return {"LD_PRELOAD": runtime[1], "ASAN_OPTIONS": "detect_leaks=0:handle_segv=0"} if runtime else {}


def next_answer(peer):
    """The next line that is no sign of life."""
    answer = {"is": "stage"}
    while answer["is"] == "stage":
        answer = json.loads(peer.stdout.readline())
    return answer


class Bench(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.db = os.path.join(self.folder.name, "store.db")
        self.log = os.path.join(self.folder.name, "log")
        self.started = []

    def tearDown(self):
        self.folder.cleanup()

    def environment(self, mode, when=HIT):
        return {**os.environ, **sanitizers(), "SEQMARK_PEERS": f"{FAKE}:{SHIPPED}",
                "FAKE_PEER": mode, "FAKE_WHEN": when,
                "FAKE_LOG": self.log}

    def command(self, *words, providers=BOTH):
        return [str(SEQMARK), "run", "--db", self.db, "--provider", providers, *CELLS, *words]

    def run_peer(self, mode, *words, when=HIT, providers=BOTH, more=None):
        process = subprocess.Popen(self.command(*words, providers=providers), text=True,
                                   env={**self.environment(mode, when), **(more or {})},
                                   cwd=self.folder.name,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(process.pid)
        stdout, stderr = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def rows(self, sql):
        db = sqlite3.connect(self.db)
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()

    def peer_rows(self, columns, joined=""):
        return self.rows(f"SELECT {columns} FROM run JOIN cell USING (cell_id) {joined} "
                         "WHERE provider = 'external:fake/plain' ORDER BY key")

    def requests(self):
        with open(self.log, encoding="utf-8") as log:
            return [json.loads(line) for line in log]

    def assert_nothing_is_left(self):
        pids = {request["pid"] for request in self.requests()}
        self.assertTrue(pids)
        for pid in pids:
            self.assertFalse(os.path.exists(f"/proc/{pid}"), pid)
        self.assertEqual([path for place in ("/dev/shm", "/tmp") for pid in self.started
                          for path in pathlib.Path(place).glob(f"seqmark-peer-{pid}-*")], [])


class Honest(Bench):
    def test_has_a_profile_page_with_its_time(self):
        self.run_peer("well", "--seqlen", "4", providers="external:fake/plain")
        (key,) = self.rows("SELECT key FROM cell")[0]
        result = subprocess.run([SEQMARK, "profile", key, "--device", "cpu", "--db", self.db, "-o",
                                 "json"], env=self.environment("well"), cwd=self.folder.name,
                                capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        shown = json.loads(result.stdout)
        self.assertEqual(shown["cell"], key)
        self.assertGreater(shown["median_ns"], 0)
        self.assertEqual(self.rows("SELECT count(*) FROM run"), [(2,)])

    def test_is_timed_proved_and_stored_beside_ours(self):
        result = self.run_peer("well")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.rows("SELECT provider, count(*) FROM run JOIN cell USING (cell_id) "
                                   "WHERE status = 'ok' GROUP BY provider"),
                         [("cpu/ref", 3), ("external:fake/plain", 3)])
        for n, median, setup, peak, versions in self.peer_rows(
                "n, median_ns, setup_ns, peak_bytes, versions"):
            self.assertEqual(n, 10)
            self.assertGreater(median, 0)
            self.assertEqual(setup, 0)
            self.assertGreater(peak, 0)
            self.assertRegex(versions, r"^python 3\.\S+, fake 1\.0$")
        self.assertEqual(self.rows("SELECT count(*) FROM check_result JOIN run USING (run_id) JOIN "
                                   "cell USING (cell_id) WHERE provider LIKE 'external:%' AND "
                                   "rel_l2 < 1e-6"), [(3,)])
        self.assertEqual(self.rows("SELECT metric FROM value JOIN run USING (run_id) JOIN cell "
                                   "USING (cell_id) WHERE provider LIKE 'external:%' AND metric IN "
                                   "('flops', 'bytes', 'tokens', 'floor_ns') GROUP BY metric"),
                         [("bytes",), ("floor_ns",), ("flops",), ("tokens",)])
        self.assert_nothing_is_left()

    def test_draws_the_inputs_of_the_workers(self):
        """The proof would fail on other bits; here a seed is given, so that it is not the default."""
        result = self.run_peer("well", "--seed", "18446744073709551615")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.peer_rows("status"), [("ok",)] * 3)

    def test_the_request_spells_the_cell_out(self):
        self.assertEqual(self.run_peer("well").returncode, 0)
        (run,) = [r for r in self.requests() if r["do"] == "run" and HIT in r["cell"]]
        self.assertEqual(run["operator"], "rmsnorm")
        self.assertEqual(run["implementation"], "plain")
        self.assertEqual((run["pass"], run["dtype"]), ("fwd", "f32"))
        self.assertEqual((run["cache"], run["launch"], run["copies"]), ("clean-cold", "plain", 1))
        self.assertEqual(run["axes"], {"B": 1, "L": 8, "D": 8, "groups": 1, "weight": 1,
                                       "gate": "none", "eps": 1e-5, "bias": 0,
                                       "residual": "none"})
        self.assertEqual(run["defaults"].keys(), run["axes"].keys())
        self.assertEqual(run["defaults"]["D"], 2048)
        self.assertEqual([(i["name"], i["shape"], i["dtype"], i["draw"], i["id"])
                          for i in run["inputs"]],
                         [("x", [1, 8, 8], "f32", "normal(0,1)", 0),
                          ("w", [8], "f32", "uniform(0.5,1.5)", 1)])
        self.assertEqual(run["policy"]["max_samples"], 10)

    def test_one_process_a_batch_and_another_for_each_replicate(self):
        self.assertEqual(self.run_peer("well", "--replicates", "2").returncode, 0)
        by_pid = {}
        for request in self.requests():
            if request["do"] == "run":
                by_pid.setdefault(request["pid"], []).append(request["cell"])
        self.assertEqual([len(set(cells)) for cells in by_pid.values()], [3, 3])

    def test_is_proved_once_and_then_by_its_checksum(self):
        self.assertEqual(self.run_peer("well", "--replicates", "3").returncode, 0)
        self.assertEqual(self.peer_rows("status"), [("ok",)] * 9)
        self.assertEqual(self.rows("SELECT count(*) FROM check_result JOIN run USING (run_id) JOIN "
                                   "cell USING (cell_id) WHERE provider LIKE 'external:%'"), [(3,)])

    def test_is_chosen_by_cell_and_by_filter(self):
        key = ("rmsnorm@external:fake/plain/fwd/f32/B=1,L=4,D=8,groups=1,weight=1,gate=none,eps=1e-05"
               ",bias=0,residual=none/clean-cold,plain,unlocked")
        words = [str(SEQMARK), "run", "--db", self.db, "--device", "cpu", "--max-samples", "10"]
        result = subprocess.run([*words, "--cell", key], env=self.environment("well"), text=True,
                                cwd=self.folder.name, capture_output=True, timeout=60, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.rows("SELECT key FROM cell"), [(key,)])
        os.remove(self.db)
        result = self.run_peer("well", "--filter", "provider==external:fake/plain and L<8")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.rows("SELECT key FROM cell"), [(key,)])

    def test_graph_and_hot_cells_say_so(self):
        result = self.run_peer("well", "--cache", "hot", "--launch", "plain,batch")
        self.assertEqual(result.returncode, 0, result.stderr)
        told = {(r["cache"], r["launch"]) for r in self.requests() if r["do"] == "run"}
        self.assertEqual(told, {("hot", "plain"), ("hot", "batch")})


class Gradients(Bench):
    """Pass bwd, proved on all of the call or on a part of it that the peer is told."""

    SLICED = ("--pass", "bwd", "--proof-work", "300")

    def checks(self):
        return self.rows("SELECT tensor, slice != '', rel_l2 < 1e-6 FROM check_result JOIN run USING "
                         "(run_id) JOIN cell USING (cell_id) WHERE provider LIKE 'external:%' AND "
                         "key LIKE '%,L=16,%' ORDER BY tensor")

    def test_are_proved(self):
        result = self.run_peer("well", "--pass", "bwd")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.peer_rows("status"), [("ok",)] * 3)
        self.assertEqual(self.checks(), [("d_w", 0, 1), ("d_x", 0, 1)])
        (run,) = [r for r in self.requests() if r["do"] == "run" and HIT in r["cell"]]
        self.assertEqual([i["name"] for i in run["inputs"]], ["x", "w"])
        self.assertEqual([(o["name"], o["shape"]) for o in run["outputs"]],
                         [("x", [1, 8, 8]), ("w", [8])])
        self.assertEqual(run["gradients"], [{"name": "y", "shape": [1, 8, 8], "dtype": "f32",
                                             "draw": "normal(0,1)", "id": run["gradients"][0]["id"]}])

    def test_of_a_part_are_proved_alone(self):
        result = self.run_peer("well", *self.SLICED)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.checks(), [("d_w", 1, 1), ("d_x", 1, 1)])
        told = {r["axes"]["L"]: r["gradients"][0].get("proof") for r in self.requests()
                if r["do"] == "run"}
        (batch, rows, width) = told[16]
        self.assertEqual((batch, width), ([0, 1], [0, 8]))
        self.assertLess(rows[1], 16)
        self.assertLessEqual(sum(rows), 16)

    def test_by_more_than_the_part_are_a_mismatch(self):
        result = self.run_peer("unmasked@L=16,", *self.SLICED)
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertEqual([status for (status,) in self.peer_rows("status")].count("mismatch"), 1)

    def test_that_are_left_over_are_a_mismatch(self):
        result = self.run_peer("lazy@L=8, nan@L=16,", "--pass", "bwd")
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertEqual(sorted(self.peer_rows("status")), [("mismatch",)] * 2 + [("ok",)])

    def test_with_their_forward_pass_are_unsupported(self):
        result = self.run_peer("well", "--pass", "fwdbwd", providers="external:fake/plain")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.peer_rows("status, reason"),
                         [("unsupported", "peers measure no pass fwdbwd")] * 3)


class Selection(Bench):
    def test_no_adapter_is_started_unless_one_is_named(self):
        self.assertEqual(self.run_peer("hello-crash", providers="cpu/ref").returncode, 0)
        self.assertFalse(os.path.exists(self.log))
        self.assertEqual(self.run_peer("hello-crash", providers="all").returncode, 0)
        self.assertFalse(os.path.exists(self.log))

    def refused(self, providers, text, code=1, mode="well"):
        result = self.run_peer(mode, providers=providers)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(text, result.stderr.strip().splitlines()[-1])
        self.assertFalse(os.path.exists(self.db))

    def test_unknown_names_are_refused_with_the_nearest(self):
        self.refused("external:fakes/plain", 'did you mean "fake"')
        self.refused("external:fake/plane", 'did you mean "external:fake/plain"')
        self.refused("external:fake", "external:ADAPTER/IMPLEMENTATION")

    def test_an_adapter_that_does_not_greet_is_an_unfit_environment(self):
        self.refused(BOTH, "libfake.so.1", 5, "hello-crash")
        self.refused(BOTH, "wrote no message", 5, "hello-garbage")
        self.refused(BOTH, 'calls itself "nobody"', 5, "hello-name")
        self.refused(BOTH, "ABI 99", 5, "hello-abi")

    def test_the_python_may_be_a_name_on_path(self):
        """One that is nowhere else: a link in a folder of its own."""
        os.symlink(sys.executable, os.path.join(self.folder.name, "python-of-mine"))
        path = f"{self.folder.name}:{os.environ['PATH']}"
        self.assertEqual(self.run_peer("well", more={"SEQMARK_PYTHON": "python-of-mine",
                                                     "PATH": path}).returncode, 0)
        self.assertEqual(self.peer_rows("status"), [("ok",)] * 3)
        os.remove(self.db)
        result = self.run_peer("well", more={"SEQMARK_PYTHON": "python-of-mine"})
        self.assertEqual(result.returncode, 5, result.stderr)
        self.assertIn("no python-of-mine on PATH", result.stderr)

    def test_a_missing_package_is_unsupported(self):
        self.assertEqual(self.run_peer("missing").returncode, 0)
        self.assertEqual(self.peer_rows("status, reason"),
                         [("unsupported", "not importable: No module named 'fake'")] * 3)

    def list_providers(self, *words):
        result = subprocess.run([str(SEQMARK), "list", "providers", "--device", "cpu", *words],
                                env=self.environment("missing"), capture_output=True, text=True,
                                timeout=300, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def test_only_doctor_and_list_ask_what_is_missing(self):
        self.assertEqual(self.run_peer("well").returncode, 0)
        self.list_providers("--peers")
        surveys = [r["survey"] for r in self.requests() if r["do"] == "hello"]
        self.assertEqual(surveys, [False, False, True])

    def test_the_torch_adapter_imports_with_its_first_cell(self):
        """A PyTorch that leaves a trace when it is imported, and cannot be."""
        trace = os.path.join(self.folder.name, "trace")
        pathlib.Path(self.folder.name, "torch.py").write_text(
            f"open({trace!r}, 'w').close()\nraise ImportError('not on a Sunday')\n", "utf-8")
        cell = {"do": "check", "cell": "c", "operator": "linear", "implementation": "linear"}
        with subprocess.Popen([sys.executable, SHIPPED / "torch_peers.py"], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              env={**os.environ, "PYTHONPATH": self.folder.name}) as peer:
            def ask(request):
                peer.stdin.write(json.dumps(request) + "\n")
                peer.stdin.flush()
                return next_answer(peer)

            hello = ask({"do": "hello", "device": "cpu", "survey": False})
            self.assertIn({"operator": "linear", "name": "linear"}, hello["implementations"])
            self.assertFalse(os.path.exists(trace))
            self.assertEqual(ask({**cell, "axes": {}})["reason"], "not importable: not on a Sunday")
            self.assertTrue(os.path.exists(trace))
            hello = ask({"do": "hello", "device": "cpu", "survey": True})
            self.assertEqual({i["missing"] for i in hello["implementations"]},
                             {"not importable: not on a Sunday"})

    def test_list_has_them_where_asked(self):
        """The adapter of PyTorch among them, whether or not there is a PyTorch."""
        self.assertNotIn("external", self.list_providers())
        self.assertRegex(self.list_providers("--peers"), r"attention +external:torch/sdpa-flash")
        self.assertRegex(self.list_providers("--peers"),
                         r"rmsnorm +external:fake/plain +not importable: No module named 'fake'")

    def test_doctor_tells_what_can_be_imported(self):
        result = subprocess.run([str(SEQMARK), "doctor", "--device", "cpu", "--db", self.db, "-o",
                                 "json"], env=self.environment("missing"), capture_output=True,
                                text=True, timeout=300, check=False)
        checks = {row["check"]: row for row in json.loads(result.stdout)}
        self.assertEqual(checks["peer fake"]["state"], "absent")
        self.assertIn("plain not importable: No module named 'fake'",
                      checks["peer fake"]["detail"])


class Faulty(Bench):
    """One bad cell of three; the other two and all of ours must be well."""

    def check(self, mode, status, reason, code=6, words=()):
        self.check_all([(mode, status, reason)], code, words)

    def check_all(self, cases, code=6, words=()):
        """Spoils the length 8 in the first way, 9 in the second ...; 4 stays well."""
        lengths = [8 + i for i in range(len(cases))]
        modes = " ".join(f"{case[0]}@L={n}," for case, n in zip(cases, lengths))
        told = ",".join(map(str, [4, *lengths]))
        result = self.run_peer(modes, "--seqlen", told, *words)
        self.assertEqual(result.returncode, code, result.stderr)
        rows = {int(length): rest for length, *rest in self.peer_rows(
            "(SELECT value FROM cell_axis WHERE name = 'L' AND cell_id = cell.cell_id), status, "
            "reason, median_ns")}
        self.assertEqual(sorted(rows), [4, *lengths])
        self.assertEqual(rows[4][:2], ["ok", ""])
        for length, (mode, status, reason) in zip(lengths, cases):
            with self.subTest(mode):
                self.assertEqual(rows[length][0], status, rows[length][1])
                self.assertIn(reason, rows[length][1])
                self.assertIsNone(rows[length][2])
        self.assertEqual(self.rows("SELECT count(*) FROM run JOIN cell USING (cell_id) WHERE "
                                   "provider = 'cpu/ref' AND status = 'ok'"), [(len(rows),)])
        self.assert_nothing_is_left()

    def test_hang(self):
        self.check("hang", "timeout", "silent for 1.5 s", words=("--timeout", "1500ms"))

    def test_unsupported(self):
        self.check("unsupported", "unsupported", "not on a Sunday", code=0)

    def test_crashes_and_babble(self):
        self.check_all([
            ("crash", "crashed", "peer fake died of signal 11"),
            ("check-crash", "crashed", "in stage check"),
            ("exit", "crashed", "illegal memory access"),
            ("garbage", "error", "peer fake wrote no message but"),
            ("refuse", "error", "peer fake refuses: cannot read the request"),
            ("no-record", "error", "its record is no object")])

    def test_lies(self):
        self.check_all([
            ("count", "error", "says n = 12 and sends 10 samples"),
            ("negative", "error", "sample 0 is no positive number"),
            ("zero", "error", "sample 0 is no positive number"),
            ("fraction", "error", "sample 0 is no positive number"),
            ("huge-sum", "error", "add up to 20 s, the whole exchange took"),
            ("too-fast", "error", "below the 100 ns that a launch must take"),
            ("too-many", "error", "5000 samples, at most 10 were asked for"),
            ("no-samples", "error", "a time without a sample, kept or dropped"),
            ("bad-count", "error", 'its "dropped" is no count'),
            ("status", "error", 'its status is "splendid"')])

    def test_wrong_numbers_keep_no_time(self):
        self.check_all([
            ("nan", "mismatch", "got nan"),
            ("wrong", "mismatch", "y: rel_l2"),
            ("short", "mismatch", "the file has 316 bytes, the tensor 320"),
            ("long", "mismatch", "the file has 356 bytes, the tensor 352"),
            ("no-file", "error", "the output cannot be read"),
            ("folder", "error", "the output is no file"),
            ("lazy", "mismatch", "got nan")], code=4)

    def test_what_the_library_says_is_judged_as_for_our_own_rows(self):
        modes = ("slowed", "all-dropped", "doubtful")
        result = self.run_peer(" ".join(f"{mode}@L={5 + i}," for i, mode in enumerate(modes)),
                               "--seqlen", "4,5,6,7")
        self.assertEqual(result.returncode, 0, result.stderr)
        values = {(length, metric): (value, validity) for length, metric, value, validity in
                  self.peer_rows("(SELECT value FROM cell_axis a WHERE name = 'L' AND "
                                 "a.cell_id = cell.cell_id), metric, v.value, validity",
                                 "JOIN value v USING (run_id)")}
        (well, slowed, dropped, doubtful) = self.peer_rows("status, reason, n")
        self.assertEqual(well, ("ok", "", 10))
        self.assertEqual(slowed, ("throttled", "11 of 21 samples were dropped: power brake for 3 ms",
                                  10))
        self.assertEqual(dropped, ("throttled", "20 of 20 samples were dropped: heat", 0))
        self.assertEqual(doubtful[0], "ok")
        self.assertEqual(values[5, "dropped_samples"],
                         (11, "inconsistent: power brake for 3 ms"))
        self.assertEqual(values[7, "late_samples"][0], 2)
        self.assertEqual(values[7, "unheld_samples"][0], 10)
        self.assertRegex(values[7, "unheld_samples"][1], "^inconsistent: the launch cannot be held")
        self.assertGreaterEqual(values[4, "warmup_launches"][0], 3)
        self.assertEqual([m for n, m in values if n == 4 and m.endswith("_samples")], [])
        self.assertEqual([m for n, m in values if n == 7 and m == "dropped_samples"], [])

    def test_death_after_the_answer_costs_nothing(self):
        result = self.run_peer("die-after")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.peer_rows("status"), [("ok",)] * 3)
        self.assert_nothing_is_left()

    def test_a_later_replicate_that_differs_is_proved_again(self):
        """The first replicate is honest, the second wrong: its checksum is not the proved one."""
        self.assertEqual(self.run_peer("well", "--label", "first").returncode, 0)
        result = self.run_peer("wrong", "--replicates", "2")
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertEqual(self.rows("SELECT count(*) FROM run WHERE status = 'mismatch'"), [(2,)])


class Endings(Bench):
    def start(self, mode):
        process = subprocess.Popen(self.command("--timeout", "60s", "--order", "plan", providers=
                                             "external:fake/plain"), stderr=subprocess.PIPE,
                                env=self.environment(mode), cwd=self.folder.name, text=True,
                                stdout=subprocess.DEVNULL)
        self.started.append(process.pid)
        return process

    def wait_for_hit(self):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if os.path.exists(self.log):
                with open(self.log, encoding="utf-8") as lines:
                    if any('"do": "run"' in line and HIT in line for line in lines):
                        return
            time.sleep(0.02)
        self.fail("no run was started")

    def assert_peers_end(self):
        until = time.monotonic() + 20
        pids = {request["pid"] for request in self.requests()}
        while time.monotonic() < until and any(os.path.exists(f"/proc/{p}") for p in pids):
            time.sleep(0.02)
        for pid in pids:
            self.assertFalse(os.path.exists(f"/proc/{pid}"), pid)

    def test_a_killed_parent_takes_its_peers_along(self):
        process = self.start("hang")
        self.wait_for_hit()
        process.kill()
        process.communicate()
        self.assert_peers_end()
        # What it left in memory is gone after the next campaign.
        self.assertEqual(self.run_peer("well").returncode, 0)
        self.assert_nothing_is_left()

    def test_the_second_signal_ends_a_hanging_peer_at_once(self):
        process = self.start("hang")
        self.wait_for_hit()
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 130, stderr)
        self.assertEqual(self.peer_rows("status"), [("ok",)])
        self.assert_peers_end()
        self.assertEqual(self.rows("SELECT state FROM campaign"), [("interrupted",)])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
