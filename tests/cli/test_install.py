#!/usr/bin/env python3
"""The installed tree stands alone: its files, what they link, and that programs and suites find each
other in it, wherever it was moved to and whatever the working folder.

usage: test_install.py SOURCE_DIR BINARY_DIR
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv[1])
BINARY = pathlib.Path(sys.argv[2])
C_LIBRARY = {"libc", "libm", "libdl", "libpthread", "librt", "ld-linux-x86-64", "ld-linux-aarch64"}
CUDA_LIBRARIES = {"libcublasLt", "libcufft"}


def cache(name):
    found = re.search(rf"^{name}(?::\w+)?=(.*)$", (BINARY / "CMakeCache.txt").read_text(), re.M)
    return found.group(1) if found else ""


SANITIZED = cache("SQ_SANITIZE") == "ON"
LIBRARIES = cache("CMAKE_INSTALL_LIBDIR")
WITH_CUDA = (BINARY / "seqmark-worker").exists()


def install(prefix):
    subprocess.run([cache("CMAKE_COMMAND"), "--install", BINARY, "--prefix", prefix], check=True,
                   stdout=subprocess.DEVNULL)


def needed(program):
    """The libraries that a program names itself; what those need in turn is their packages' affair."""
    text = subprocess.run([cache("CMAKE_READELF"), "-d", program], check=True, capture_output=True,
                          text=True).stdout
    return {name.split(".so")[0] for name in re.findall(r"\(NEEDED\).*\[(.*)\]", text)}


class Installed(unittest.TestCase):
    """Installed into one folder, then moved to another: no path of the first may matter."""

    @classmethod
    def setUpClass(cls):
        cls.holder = tempfile.TemporaryDirectory()
        holder = pathlib.Path(cls.holder.name)
        install(holder / "first")
        cls.prefix = (holder / "first").rename(holder / "moved")
        cls.elsewhere = holder / "elsewhere"
        cls.elsewhere.mkdir()

    @classmethod
    def tearDownClass(cls):
        cls.holder.cleanup()

    def seqmark(self, *words, prefix=None):
        environment = {k: v for k, v in os.environ.items() if k != "SEQMARK_WORKER"}
        return subprocess.run([str((prefix or self.prefix) / "bin/seqmark"), *words], text=True,
                              cwd=self.elsewhere, env=environment, capture_output=True, timeout=300,
                              check=False)

    def fine(self, *words, **where):
        result = self.seqmark(*words, **where)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def copy(self, name):
        """A copy of the tree that a test may damage."""
        return pathlib.Path(shutil.copytree(self.prefix, self.elsewhere.parent / name))

    def test_has_its_programs_suites_and_adapters_and_nothing_else(self):
        programs = {"bin/seqmark"} | ({"bin/seqmark-worker"} if WITH_CUDA else set())
        suites = {f"share/seqmark/suites/{p.name}" for p in (SOURCE / "bench/suites").iterdir()}
        adapters = {f"share/seqmark/external/{p.name}"
                    for p in (SOURCE / "bench/external").glob("*.py")}
        files = {str(p.relative_to(self.prefix)) for p in self.prefix.rglob("*") if p.is_file()}
        timing = {f"{LIBRARIES}/libseqmark_time.so", "include/seqmark_time.h"}
        self.assertEqual(files, programs | adapters | suites | timing)

    @unittest.skipIf(SANITIZED, "the sanitizers' libraries are linked")
    def test_the_timing_library_links_the_c_library_only(self):
        self.assertLessEqual(needed(self.prefix / LIBRARIES / "libseqmark_time.so"), C_LIBRARY)

    @unittest.skipIf(SANITIZED, "the sanitizers' libraries are linked")
    def test_seqmark_links_the_c_library_only(self):
        self.assertLessEqual(needed(self.prefix / "bin/seqmark"), C_LIBRARY)

    @unittest.skipUnless(WITH_CUDA, "built without CUDA")
    def test_the_worker_links_the_c_library_and_cuda_only(self):
        libraries = needed(self.prefix / "bin/seqmark-worker")
        self.assertLessEqual(libraries, C_LIBRARY | CUDA_LIBRARIES)
        self.assertLessEqual(CUDA_LIBRARIES, libraries)

    def test_finds_its_own_suites_and_no_others(self):
        prefix = self.copy("suites")
        suites = prefix / "share/seqmark/suites"
        (suites / "quick.yaml").rename(suites / "renamed.yaml")
        listed = {line.split(",")[0] for line in
                  self.fine("list", "suites", "-o", "csv", prefix=prefix).splitlines()[1:]}
        self.assertEqual(listed, {p.stem for p in suites.iterdir()})
        plan = self.fine("run", "--suite", "renamed", "--device", "cpu", "--dry-run", prefix=prefix)
        self.assertIn("attention@cpu/ref", plan)
        refused = self.seqmark("run", "--suite", "quick", "--device", "cpu", "--dry-run",
                               prefix=prefix)
        self.assertEqual(refused.returncode, 1, refused.stderr)

    def test_measures_on_the_cpu(self):
        self.fine("run", "--op", "rmsnorm", "--dtype", "f32", "--seqlen", "8", "--channels", "8",
                  "--device", "cpu", "--max-samples", "10", "--warmup-time", "1ms", "--db", "a.db")
        self.assertIn("rmsnorm@cpu/ref", self.fine("export", "--db", "a.db", "-o", "csv"))

    def test_a_baseline_keeps_all_that_runs(self):
        self.fine("run", "--op", "rmsnorm", "--dtype", "f32", "--seqlen", "8", "--channels", "8",
                  "--device", "cpu", "--max-samples", "10", "--warmup-time", "1ms", "--db", "b.db")
        self.fine("baseline", "set", "kept", "latest", "--db", "b.db")
        tree, = (self.elsewhere / "b.db-trees").iterdir()
        for folder in ("bin", "share"):
            for path in (self.prefix / folder).rglob("*"):
                if path.is_file():
                    copy = tree / path.relative_to(self.prefix)
                    self.assertEqual(copy.read_bytes(), path.read_bytes(), copy)
                    self.assertEqual(os.access(copy, os.X_OK), os.access(path, os.X_OK), copy)
        self.assertEqual((tree / "lib/libseqmark_time.so").read_bytes(),
                         (self.prefix / LIBRARIES / "libseqmark_time.so").read_bytes())
        moved = tree.rename(self.elsewhere / "anywhere")
        self.assertIn("nightly", self.fine("list", "suites", "-o", "csv", prefix=moved))
        self.assertIn("missing", self.fine("baseline", "list", "--device", "cpu", "--db", "b.db",
                                           prefix=moved))

    def test_finds_the_worker_beside_itself(self):
        prefix = self.copy("worker")
        worker = prefix / "bin/seqmark-worker"
        worker.unlink(missing_ok=True)
        worker.write_text('#!/bin/sh\ntouch "$0.was-started"\nexit 5\n')
        worker.chmod(0o755)
        self.seqmark("doctor", prefix=prefix)
        self.assertTrue((prefix / "bin/seqmark-worker.was-started").exists())


if __name__ == "__main__":
    if not (BINARY / "seqmark").exists():
        print("skipped: seqmark is not built")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], "-v"])
