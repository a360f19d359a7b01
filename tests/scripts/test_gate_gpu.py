#!/usr/bin/env python3
"""scripts/gate-gpu.py over a worker whose times vary as a GPU's do: what it asks of a GPU holds here, and
it wastes no time on one that does not.

usage: test_gate_gpu.py SOURCE_DIR BINARY_DIR
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(sys.argv[1]).resolve()
BINARY = pathlib.Path(sys.argv[2]).resolve()


class Gpu:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.night = self.folder / "night.json"

    def steps(self, *words, out="out", **told):
        """Exit code and lines of the script, over a worker that was told so."""
        self.night.write_text(json.dumps({"cv": 0.002, **told}), "utf-8")
        environment = {**os.environ, "SEQMARK_WORKER": str(SOURCE / "tests/fault/fake_night.py"),
                       "NIGHT": str(self.night), "SEQMARK_LOCK_DIR": str(self.folder)}
        result = subprocess.run([str(SOURCE / "scripts/gate-gpu.py"), str(BINARY),
                                 str(self.folder / out), *words], env=environment, capture_output=True,
                                text=True, timeout=600, check=False)
        print(result.stdout, result.stderr)
        return result.returncode, result.stdout


def test_all_steps(gpu):
    code, said = gpu.steps("check", "base", "aa", "slow")
    assert code == 0 and "all as it must" in said
    assert said.count("  as it must: confirmed: ") == 5
    talk = [(gpu.folder / "out" / f"{name}.log").read_text("utf-8") for name in ("base", "aa", "slow")]
    assert ["/1015," in talk[0], "/1070," in talk[1], "/1015," in talk[2]] == [True] * 3
    assert "more are planned: 203" in said
    code, said = gpu.steps("load", seconds={"rmsnorm@": 0.1})
    assert code == 0 and "as it must: exit code 5 or 3: 5" in said
    assert "others computed on the GPU" in said
    assert (gpu.folder / "out" / "summary.txt").read_text("utf-8").count("all as it must") == 2


def test_other_nights(gpu):
    # The kept worker is told the same, so that a slower night alone is no regression ...
    code, said = gpu.steps("aa", times={"linear": 1.1}, hash={"linear": "b"})
    assert code == 0 and "dismissed" in said
    code, said = gpu.steps("aa", result={"linear": "wrong"})
    assert code == 1 and "NOT as it must: exit code 0 or 3: 4" in said
    # ... and a load that nothing tells is one that this store cannot have seen.
    code, said = gpu.steps("load", out="none")
    assert code == 1 and "NOT as it must: there is a baseline" in said


def test_no_time_is_wasted(gpu):
    code, said = gpu.steps("check", "base", out="wrong", result={"rmsnorm": "wrong"})
    assert code == 1 and "base:" not in said and "the later steps rest on that: ended" in said
    code, said = gpu.steps("base", "aa", "slow", "--pace", "0.03", out="short",
                           seconds={"": 0.5})
    assert code == 1 and "NOT as it must: base ends within" in said
    assert "aa:" not in said


def test_time_that_is_left(gpu):
    code, said = gpu.steps("aa", "slow", "--limit", "30")
    assert code == 1 and said.count("is left out: it takes") == 2


def test_one_percent_of_bytes(gpu):
    """Cells of 100 MB whose counts lie 0.1 % apart; then ones in which a night of the same code differs."""
    noise = {"dram_cv": 0.0003, "dram_range": 0.0005, "peak": {"": 90}}
    code, said = gpu.steps("bytes", out="bytes", **noise)
    assert code == 0 and said.count("  as it must: dram_bytes confirmed: ") == 4
    assert said.count("  as it must: peak_bytes confirmed: ") == 4
    assert "as it must: of the same code no count is larger: none" in said
    assert "as it must: nothing else is (none)" in said and said.count("  confirmed: ") == 8
    (gpu.folder / "night.json.counted").unlink()
    turns = [1] * 5 + [1.01] + [1, 1.01, 1.01, 1] * 3 # baseline, night, and the blocks A B B A
    code, said = gpu.steps("bytes", out="apart", **noise, dram_turns=turns)
    assert code == 1 and "NOT as it must: of the same code no count is larger: dram_bytes" in said


def main():
    with tempfile.TemporaryDirectory() as folder:
        gpu = Gpu(folder)
        test_all_steps(gpu)
        test_other_nights(gpu)
        test_no_time_is_wasted(gpu)
        test_time_that_is_left(gpu)
        test_one_percent_of_bytes(gpu)
    return 0


if __name__ == "__main__":
    sys.exit(main())
