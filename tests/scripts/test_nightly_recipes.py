#!/usr/bin/env python3
"""Every command of docs/nightly.md and of the README's start takes the options that its help names, and
the units are what systemd reads. usage: test_nightly_recipes.py SOURCE_DIR BINARY_DIR"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv[1])
GOLDEN = SOURCE / "tests/cli/golden"
TEXT = (SOURCE / "docs/nightly.md").read_text("utf-8")


def blocks(text):
    return re.findall(r"```\n(.*?)```", text, re.S)


class Recipes(unittest.TestCase):
    def test_options_are_those_of_the_help(self):
        seen = 0
        for block in blocks(TEXT) + blocks((SOURCE / "README.md").read_text("utf-8")):
            joined = block.replace("\\\n", " ")
            for verb, words in re.findall(r"seqmark ([a-z]+)([^\n|#>]*)", joined):
                golden = GOLDEN / f"{verb}.txt"
                self.assertTrue(golden.exists(), verb)
                told = golden.read_text("utf-8")
                for option in re.findall(r"(?<=\s)--[a-z-]+", re.sub(r'".*?"', "", words)):
                    if verb == "run" and option in ("--width", "--seqlen", "--batch"):
                        continue
                    self.assertIn(option, told, f"{verb} {words}")
                    seen += 1
        self.assertGreater(seen, 20)

    def unit(self, name):
        (text,) = re.findall(rf"`/etc/systemd/system/{name}`:\n\n```\n(.*?)```", TEXT, re.S)
        return text

    def test_units(self):
        analyze = shutil.which("systemd-analyze")
        if not analyze:
            self.skipTest("no systemd-analyze")
        with tempfile.TemporaryDirectory() as folder:
            for kind in ("service", "timer"):
                path = pathlib.Path(folder, f"seqmark-nightly.{kind}")
                text = self.unit(path.name).replace("/opt/seqmark/bin/seqmark", "/bin/true")
                path.write_text(text.replace("User=bench", "User=root"), "utf-8")
            result = subprocess.run([analyze, "verify", str(path)], capture_output=True, text=True,
                                    timeout=60, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_the_hook_is_a_script(self):
        (script,) = [block for block in blocks(TEXT) if block.startswith("#!/bin/sh")]
        result = subprocess.run(["sh", "-n", "-c", script], capture_output=True, text=True, timeout=10,
                                check=False)
        self.assertEqual(result.returncode, 0, result.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
