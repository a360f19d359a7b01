#!/usr/bin/env python3
"""scripts/gate-gpu.py over a worker whose times vary as a GPU's do: what it asks of a GPU holds here.

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


def main():
    with tempfile.TemporaryDirectory() as folder:
        night = pathlib.Path(folder, "night.json")
        night.write_text(json.dumps({"cv": 0.002}), "utf-8")
        environment = {**os.environ, "SEQMARK_WORKER": str(SOURCE / "tests/fault/fake_night.py"),
                       "NIGHT": str(night), "SEQMARK_LOCK_DIR": folder}
        result = subprocess.run([str(SOURCE / "scripts/gate-gpu.py"), str(BINARY), f"{folder}/out",
                                 "base", "aa", "slow"], env=environment, capture_output=True, text=True,
                                timeout=600, check=False)
        print(result.stdout, result.stderr)
        assert result.returncode == 0
        assert result.stdout.count("  as it must: confirmed: ") == 5
        night.write_text(json.dumps({"cv": 0.002, "times": {"linear": 1.1},
                                     "hash": {"linear": "b"}}), "utf-8")
        result = subprocess.run([str(SOURCE / "scripts/gate-gpu.py"), str(BINARY), f"{folder}/out",
                                 "aa"], env=environment, capture_output=True, text=True, timeout=600,
                                check=False)
        # The kept worker is told the same, so that a slower night alone is no regression ...
        assert result.returncode == 0 and "dismissed" in result.stdout, result.stdout
        night.write_text(json.dumps({"cv": 0.002, "result": {"linear": "wrong"}}), "utf-8")
        result = subprocess.run([str(SOURCE / "scripts/gate-gpu.py"), str(BINARY), f"{folder}/out",
                                 "aa"], env=environment, capture_output=True, text=True, timeout=600,
                                check=False)
        assert result.returncode == 1 and "NOT as it must: exit code 0 or 3" in result.stdout
    return 0


if __name__ == "__main__":
    sys.exit(main())
