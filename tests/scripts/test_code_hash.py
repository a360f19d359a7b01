#!/usr/bin/env python3
"""cmake/code_hash.c: a hash changes with the code that it stands for, and with nothing else.

usage: test_code_hash.py SOURCE_DIR BINARY_DIR
"""
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

PROGRAM = pathlib.Path(sys.argv[2]).resolve() / "sq_code_hash"

TREE = {
    "core/tensor.h": "typedef int tensor;\n",
    "kernels/op.h": '#include "kernels/registry.def"\n',
    "kernels/registry.def": "SQ_OP(scan)\n",
    "kernels/hw/mma.cuh": "inline int mma(int a) { return a; }\n",
    "kernels/shared/rows.h": "int sq_rows(int n);\n",
    "kernels/shared/rows.c": '#include "kernels/shared/rows.h"\nint sq_rows(int n) { return n; }\n',
    "kernels/scan/scan.h": '#include "kernels/op.h"\n',
    "kernels/scan/tile.cuh": '#include "kernels/hw/mma.cuh"\n#define TILE 64\n',
    "kernels/scan/scan.c": '#include "kernels/scan/scan.h"\n#include "kernels/shared/rows.h"\n'
                           '#include <math.h>\nint reference(void) { return sq_rows(2); }\n',
    "kernels/scan/scan.cu": '/* the scan */\n#include "scan.h"\n#include "tile.cuh"\n'
                            '#include "kernels/scan_core/core.h"\n'
                            '__global__ void scan(char *s) { s[0] = \'"\'; s = "//no"; } // end\n'
                            'int back(int n) { return sq_scan_back(n) + sq_scan_table[n]; }\n',
    "kernels/scan_core/scan_bwd.cu": '#include "kernels/hw/mma.cuh"\n'
                                     "int sq_scan_back(int n)\n{\n    return mma(n);\n}\n",
    "kernels/scan_core/other.c": "int *sq_scan_other(int n) { return 0; }\n",
    "kernels/scan_core/core.h": "int *sq_scan_other(int n);\nint sq_scan_back(int n);\nextern const int sq_scan_table[];\n",
    "kernels/scan_core/table.c": "const int sq_scan_table[] = {1, 2};\n",
    "kernels/norm/norm.c": "int norm(void) { return 1; }\n",
    "kernels/norm/norm.cu": '#include "kernels/hw/mma.cuh"\n__global__ void norm() {}\n',
    "models/graph.h": "int sq_graph(void);\n",
    "models/graph.c": "int sq_graph(void) { return 4; }\n",
    "models/mamba.c": '#include "models/graph.h"\nint mamba(void) { return sq_graph(); }\n',
}
SOURCES = ["@sources", "-", "-", *(name for name in TREE if name.endswith((".c", ".cu")))]
GROUPS = [*SOURCES, "@cpu", "scan", "gcc -O2", "kernels/scan/scan.c", "@cuda", "scan", "nvcc -O3",
          "kernels/scan/scan.cu", "@cpu", "norm", "gcc -O2", "kernels/norm/norm.c", "@cuda", "norm",
          "nvcc -O3", "kernels/norm/norm.cu", "@model", "mamba", "gcc -O2", "models/mamba.c"]
ALL = {"cpu scan", "cuda scan", "cpu norm", "cuda norm", "model mamba"}


class CodeHash(unittest.TestCase):
    def hashes(self, changes=None, groups=None):
        """{"kind name": hash} of the tree with some files in other words."""
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in {**TREE, **(changes or {})}.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text, encoding="utf-8")
            subprocess.run([PROGRAM, root / "out.c", root, *(groups or GROUPS)], check=True)
            rows = re.findall(r'\{"(\w+)", "(\w+)", "([0-9a-f]{16})"\}', (root / "out.c").read_text())
        return {f"{kind} {name}": value for kind, name, value in rows}

    def changed(self, name, old, new):
        """What changes with the text `old` of a file, which must be there."""
        self.assertIn(old, TREE[name])
        before, after = self.hashes(), self.hashes({name: TREE[name].replace(old, new)})
        self.assertEqual(set(before), ALL)
        return {key for key in ALL if before[key] != after[key]}

    def test_code_changes_it(self):
        self.assertEqual(self.changed("kernels/scan/scan.cu", "s[0]", "s[1]"), {"cuda scan"})
        self.assertEqual(self.changed("kernels/scan/scan.cu", "//no", "//yes"), {"cuda scan"})
        self.assertEqual(self.changed("kernels/scan/scan.c", "rows(2)", "rows(3)"), {"cpu scan"})
        self.assertEqual(self.changed("models/mamba.c", "sq_graph()", "-sq_graph()"), {"model mamba"})

    def test_what_is_included_changes_it(self):
        self.assertEqual(self.changed("kernels/scan/tile.cuh", "64", "128"), {"cuda scan"})
        self.assertEqual(self.changed("kernels/hw/mma.cuh", "return a", "return -a"),
                         {"cuda scan", "cuda norm"})

    def test_what_is_only_declared_does_not(self):
        self.assertEqual(self.changed("kernels/scan_core/other.c", "0", "1"), set())

    def test_what_is_called_changes_it(self):
        self.assertEqual(self.changed("kernels/scan_core/scan_bwd.cu", "mma(n)", "mma(2 * n)"),
                         {"cuda scan"})
        self.assertEqual(self.changed("kernels/scan_core/table.c", "2}", "3}"), {"cuda scan"})
        self.assertEqual(self.changed("kernels/shared/rows.c", "return n", "return -n"), {"cpu scan"})
        self.assertEqual(self.changed("models/graph.c", "4", "5"), {"model mamba"})

    def test_words_and_layout_do_not(self):
        self.assertEqual(self.changed("kernels/scan/scan.cu", "/* the scan */", "/* a \n scan */\n"),
                         set())
        self.assertEqual(self.changed("kernels/scan/scan.cu", "// end", ""), set())
        self.assertEqual(self.changed("kernels/scan/scan.cu", "; s =", ";\n\n    s ="), set())

    def test_a_directive_keeps_its_line(self):
        self.assertEqual(self.changed("kernels/scan/tile.cuh", "#define TILE 64\n",
                                      "#define TILE\n64\n"), {"cuda scan"})

    def test_the_harness_and_other_operators_do_not(self):
        self.assertEqual(self.changed("kernels/registry.def", "scan", "scan)\nSQ_OP(norm"), set())
        self.assertEqual(self.changed("kernels/op.h", "#include", "int sq_launch(void);\n#include"), set())
        self.assertEqual(self.hashes(), self.hashes({"core/tensor.h": "typedef long tensor;\n"}))

    def test_compiler_and_flags_do(self):
        other = [word.replace("nvcc -O3", "nvcc -O2") for word in GROUPS]
        before, after = self.hashes(), self.hashes(groups=other)
        self.assertEqual({key for key in ALL if before[key] != after[key]},
                         {"cuda scan", "cuda norm"})

    def test_the_same_files_in_another_order_are_the_same(self):
        more = ["@cuda", "both", "", "kernels/norm/norm.cu", "kernels/scan/scan.cu"]
        turned = [*more[:3], *reversed(more[3:])]
        self.assertEqual(self.hashes(groups=more), self.hashes(groups=turned))

    def test_a_call_is_no_definition(self):
        """Another operator's file that calls the same function does not come along."""
        caller = TREE["kernels/norm/norm.c"] + "int n2(void) { if (sq_rows(1)) { return 2; } return sq_rows(3); }\n"
        before = self.hashes({"kernels/norm/norm.c": caller})
        after = self.hashes({"kernels/norm/norm.c": caller.replace("sq_rows(3)", "sq_rows(4)")})
        self.assertEqual({key for key in ALL if before[key] != after[key]}, {"cpu norm"})

    def test_a_file_that_is_not_there_fails(self):
        result = subprocess.run([PROGRAM, "/dev/null", "/nowhere", "@cpu", "x", "", "kernels/x.c"],
                                capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("/nowhere/kernels/x.c", result.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
