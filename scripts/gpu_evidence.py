#!/usr/bin/env python3
"""What gpu-check.sh found, as evidence.json, and whether that is still about this code.

usage: gpu_evidence.py operators ROOT all|changed
       gpu_evidence.py write ROOT BUILD WORK SCOPE SECONDS   logs of gpu-check.sh to stdout; 1: something failed
       gpu_evidence.py summary EVIDENCE
       gpu_evidence.py stale ROOT                            a line; always 0
"""
import collections
import hashlib
import json
import pathlib
import re
import subprocess
import sys

COUNTS = re.compile(r"^(\d+) passed, (\d+) failed(?: \((\d+) )?", re.M)
ERRORS = re.compile(r"ERROR SUMMARY: (\d+) error|RACECHECK SUMMARY: (\d+) hazards? displayed \((\d+) error")
TOOLS = ["memcheck", "initcheck", "synccheck", "racecheck"]


def digest(root, files):
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return total.hexdigest()[:16]


def operators(root):
    return re.findall(r"^SQ_OP\((\w+)\)", (root / "kernels/registry.def").read_text(), re.M)


def hashes(root):
    """Of all device code, of each operator's folder, of what operators share."""
    files = [p for folder in ("kernels", "core/backend/cuda") for p in (root / folder).rglob("*") if p.is_file()]
    own = {name: [p for p in files if root / "kernels" / name in p.parents] for name in operators(root)}
    taken = {p for paths in own.values() for p in paths}
    return {"code": digest(root, files),
            "shared": digest(root, [p for p in files if p not in taken]),
            "operators": {name: digest(root, paths) for name, paths in own.items()}}


def committed(root):
    path = root / "tests/gpu/evidence.json"
    return json.loads(path.read_text()) if path.exists() else {}


def changed(root):
    now, then = hashes(root), committed(root)
    if now["shared"] != then.get("shared"):
        return operators(root)
    return [name for name, value in now["operators"].items() if then.get("operators", {}).get(name) != value]


# --- what was found ---

def ended(text):
    found = re.search(r"^exit (\d+)\s*\Z", text, re.M)
    return int(found[1]) if found else None


def logs(work, kind):
    return {p.name.split(".", 1)[1]: p.read_text(errors="replace") for p in sorted(work.glob(kind + ".*"))}


def rows(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def tests(work, kind):
    """By test: counts of its last lines, or that it was skipped, stopped or crashed."""
    result = {}
    for name, text in logs(work, kind).items():
        code = ended(text)
        found = [tuple(int(n or 0) for n in row) for row in COUNTS.findall(text)]
        passed, failed, unsupported = (sum(column) for column in zip(*found)) if found else (0, 0, 0)
        state = {None: "stopped", 0: "ok", 77: "skipped"}.get(code, "failed")
        result[name] = {"state": state, "passed": passed, "failed": failed, "unsupported": unsupported}
    return result


def golden(work):
    result = {}
    for dtype, text in logs(work, "golden").items():
        verdicts = collections.Counter(row["verdict"] for row in rows(text))
        state = {None: "stopped", 0: "ok", 6: "ok"}.get(ended(text), "failed")
        result[dtype] = {"state": state, **{v: verdicts[v] for v in ("ok", "mismatch", "unsupported")}}
    return result


def fuzz(work):
    """How many cells, how many of them wrong, and by operator and pass the cell nearest to its bound."""
    result, worst = {"state": "ok", "cells": 0, "wrong": 0}, {}
    for text in logs(work, "fuzz").values():
        code = ended(text)
        if code != 0:
            result["state"] = "stopped" if code is None and result["state"] == "ok" else "failed"
        for row in rows(text):
            result["cells"] += int(row["cells"])
            result["wrong"] += int(row["wrong"])
            share = (row["worst_error"] or 0) / (row["tolerance"] or 1)
            best = worst.setdefault(row["op"], {}).setdefault(row["pass"], {"share": -1.0})
            if share > best["share"]:
                best.update(share=share, rel_l2=row["worst_error"], tolerance=row["tolerance"],
                            cell=row["worst_cell"])
    for passes in worst.values():
        for found in passes.values():
            del found["share"]
    return result, worst


def sanitizers(work):
    result = {}
    for tool in TOOLS:
        found = logs(work, tool)
        if not found:
            continue
        errors, dirty, stopped = 0, [], []
        for name, text in found.items():
            numbers = [int(a or c) for a, _, c in ERRORS.findall(text)]
            if ended(text) is None or not numbers:
                stopped.append(name)
            errors += sum(numbers)
            if sum(numbers):
                dirty.append(name)
        counts = [COUNTS.search(text) for text in found.values()]
        result[tool] = {"errors": errors, "with_errors": dirty, "not_finished": stopped,
                        "cases": sum(int(c[1]) for c in counts if c)}
    return result


def suites(work):
    return {name: (text.strip().splitlines() or [""])[-2:][0] for name, text in logs(work, "suite").items()}


def device():
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        found = subprocess.run(query, capture_output=True, text=True, check=False).stdout
        return [part.strip() for part in found.splitlines()[0].split(",")]
    except (OSError, IndexError):
        return ["", ""]


def version(build):
    try:
        return subprocess.run([str(build / "seqmark"), "--version"], capture_output=True, text=True,
                              check=False).stdout.strip()
    except OSError:
        return ""


def is_bad(found):
    states = [t["state"] for kind in ("tests", "large", "golden") for t in found[kind].values()]
    return (any(state in ("failed", "stopped") for state in states) or found["fuzz"]["state"] != "ok" or
            found["fuzz"]["wrong"] > 0 or
            any(s["errors"] or s["not_finished"] for s in found["sanitizers"].values()))


def write(root, build, work, scope, seconds):
    name, driver = device()
    random, worst = fuzz(work)
    found = {**hashes(root), "scope": scope, "build": version(build), "device": name, "driver": driver,
             "seconds": int(seconds), "tests": tests(work, "tests"), "large": tests(work, "large"),
             "golden": golden(work), "fuzz": random, "worst": worst, "sanitizers": sanitizers(work)}
    if suites(work):
        found["suites"] = suites(work)
    found["status"] = int(is_bad(found))
    json.dump(found, sys.stdout, indent=1)
    print()
    return found["status"]


def summary(path):
    found = json.loads(path.read_text())
    total = collections.Counter()
    for kind in ("tests", "large"):
        for name, test in found[kind].items():
            total.update({k: test[k] for k in ("passed", "failed", "unsupported")})
            if test["state"] not in ("ok", "skipped") or test["failed"]:
                print(f"{kind} {name}: {test['state']}, {test['failed']} failed")
    print(f"tests: {total['passed']} passed, {total['failed']} failed, {total['unsupported']} unsupported")
    for dtype, counts in found["golden"].items():
        print(f"golden {dtype}: {counts}")
    print(f"fuzz: {found['fuzz']}")
    for tool, result in found["sanitizers"].items():
        print(f"{tool}: {result}")
    print(f"status {found['status']}")


def stale(root):
    then, now = committed(root), hashes(root)
    if not then:
        return "GPU evidence: there is none"
    if then.get("code") == now["code"]:
        return f"GPU evidence: of this code, {then['device']}, status {then['status']}"
    names = changed(root)
    what = "all operators" if len(names) == len(now["operators"]) else ", ".join(names) or "no operator"
    return f"GPU evidence: stale for {what} (scripts/gpu-check.sh BUILD OUT --changed)"


def main(words):
    verb, path = words[0], pathlib.Path(words[1]).resolve()
    if verb == "operators":
        print(" ".join(operators(path) if words[2] == "all" else changed(path)))
    elif verb == "write":
        return write(path, pathlib.Path(words[2]), pathlib.Path(words[3]), *words[4:6])
    elif verb == "summary":
        summary(path)
    elif verb == "stale":
        print(stale(path))
    else:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
