#!/usr/bin/env python3
"""bench/external/bare_packages.py on packages that are written here.

usage: test_bare_packages.py SOURCE_DIR BINARY_DIR
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv[1])


class Bare(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.write("outer/__init__.py", "print('outer')\n")
        self.write("outer/parts/__init__.py", "print('parts')\nWIDTH = 3\n")
        self.write("outer/parts/plain.py", "from outer.parts.other import depth\n")
        self.write("outer/parts/other.py", "depth = 7\n")
        self.write("outer/parts/needy.py", "from outer.parts import WIDTH\n")
        self.write("outer/parts/broken.py", "import no_such_module\n")

    def tearDown(self):
        self.folder.cleanup()

    def write(self, name, text):
        path = pathlib.Path(self.folder.name, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def run_lines(self, *lines):
        """What these lines print, after import_alone was imported as `alone`."""
        text = "\n".join(["import functools, sys", "sys.path.insert(0, sys.argv[1])", "import bare_packages",
                          "alone = functools.partial(bare_packages.import_alone, 'outer.parts')", *lines])
        result = subprocess.run([sys.executable, "-c", text, str(SOURCE / "bench/external")], text=True,
                                cwd=self.folder.name, capture_output=True, check=False, timeout=60,
                                env={**os.environ, "PYTHONPATH": self.folder.name})
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout.splitlines()

    def test_a_module_comes_without_its_package_s_init(self):
        self.assertEqual(self.run_lines("print(alone('outer.parts.plain').depth)",
                                        "import outer; print(outer.parts.other.depth)"),
                         ["outer", "7", "7"])

    def test_one_that_needs_it_gets_it(self):
        self.assertEqual(self.run_lines("alone('outer.parts.plain')",
                                        "print(alone('outer.parts.needy').WIDTH)"),
                         ["outer", "parts", "3"])

    def test_a_package_that_is_there_stays(self):
        self.assertEqual(self.run_lines("import outer.parts", "alone('outer.parts.plain')",
                                        "print(outer.parts.WIDTH)"), ["outer", "parts", "3"])

    def test_what_cannot_be_imported_says_its_own_reason(self):
        said = self.run_lines("for path in ('outer.parts.broken', 'outer.parts.none', 'nowhere.parts.x'):",
                              "    try: bare_packages.import_alone(path.rpartition('.')[0], path)",
                              "    except ImportError as error: print(error)")
        self.assertEqual([line for line in said if line not in ("outer", "parts")],
                         ["No module named 'no_such_module'", "No module named 'outer.parts.none'",
                          "No module named 'nowhere'"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
