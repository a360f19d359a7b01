#!/usr/bin/env python3
"""seqmark verify --fuzz on a GPU that is wrong or fails (tests/support/fake_backend.h): what is printed
of a cell drawn by seed proves that very cell again.

usage: test_fuzz.py SOURCE_DIR BINARY_DIR
"""
import json
import shlex
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
from campaigns import SEQMARK, Campaigns


class Fuzz(Campaigns):
    def verify(self, fault, words):
        return subprocess.run([str(SEQMARK), "verify", *words], env=self.on_fake_gpu(fault),
                              cwd=self.folder.name, capture_output=True, text=True, timeout=120,
                              check=False)

    def fuzz(self, fault):
        return self.verify(fault, ["--device", "0", "--fuzz", "3", "--seed", "41",
                                   "--proof-work", "20k"])

    def printed(self, result, word):
        """The command behind each line that begins with the word."""
        lines = result.stderr.splitlines()
        found = [shlex.split(lines[i + 1]) for i, line in enumerate(lines)
                 if line.startswith(f"{word}: ")]
        for command in found:
            self.assertEqual(command[:2], ["seqmark", "verify"])
        return [command[2:] for command in found]

    def test_a_wrong_cell_prints_its_replay(self):
        result = self.fuzz("wrong")
        self.assertEqual(result.returncode, 4, result.stderr)
        replays = self.printed(result, "wrong")
        self.assertEqual([words[words.index("--seed") + 1] for words in replays],
                         ["41", "42", "43"])
        for words in replays:
            cell = words[words.index("--cell") + 1]
            again = self.verify("wrong", [*words, "-o", "jsonl"])
            self.assertEqual(again.returncode, 4, again.stderr)
            (line,) = map(json.loads, again.stdout.splitlines())
            self.assertEqual((line["case"], line["verdict"]), (cell, "mismatch"))
            # The same numbers: of the seed, the layout and the values that were drawn.
            self.assertIn(f"wrong: {line['reason']}\n", result.stderr)
            healed = self.verify("", words)
            self.assertEqual(healed.returncode, 0, healed.stderr)

    def test_a_cell_that_was_not_proved_prints_its_replay(self):
        result = self.fuzz("fail")
        self.assertEqual(result.returncode, 6, result.stderr)
        replays = self.printed(result, "not proved")
        self.assertEqual(len(replays), 3)
        self.assertEqual(self.verify("fail", replays[0]).returncode, 6)

    def test_right_cells_print_none(self):
        result = self.fuzz("")
        self.assertEqual((result.returncode, result.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
