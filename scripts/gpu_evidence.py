#!/usr/bin/env python3
"""What gpu-check.sh found, as evidence.json, and whether that is still about this code.

usage: gpu_evidence.py operators ROOT all|changed
       gpu_evidence.py code ROOT                             the hash of kernels/ and core/backend/cuda
       gpu_evidence.py built ROOT SEQMARK                    1, and a line: the worker beside it is of other code
       gpu_evidence.py cases ROOT all|--long|--small|--once|--races OP...   lines "NAME ARGUMENTS" that divide the op tests
       gpu_evidence.py write ROOT SEQMARK WORK SCOPE SECONDS [BEFORE]   logs of gpu-check.sh to stdout, and what
                                     the evidence BEFORE has beside them of the same code; 1: something failed
       gpu_evidence.py summary EVIDENCE
       gpu_evidence.py costs EVIDENCE                        the table of cost() against counters, in Markdown
       gpu_evidence.py stale ROOT                            a line; always 0
"""
import collections
import hashlib
import json
import math
import pathlib
import re
import subprocess
import sys

COUNTS = re.compile(r"^(\d+) passed, (\d+) failed(?: \((\d+) )?", re.M)
ERRORS = re.compile(r"ERROR SUMMARY: (\d+) error|RACECHECK SUMMARY: (\d+) hazards? displayed \((\d+) error")
TOOLS = ["memcheck", "initcheck", "synccheck", "racecheck"]
ONCE = "every small shape once, types and layouts in turn"
SETS = {"--small": "all small cases", "--once": ONCE, "--races": f"{ONCE}, without cuda/native"}
MANY_CASES = 1000
PASSES = (("bwd", 3 / 8), ("fwdbwd", 3 / 8), ("fwd", 1 / 8), ("step", 1 / 16))  # with their share of the time
SKIPPED = 77
STOPPED = (124, 143)  # timeout's own exit code, and that of what it ended
STATES = ("ok", "skipped", "failed", "stopped")
COSTS = ("op", "pass", "provider", "shape", "mb_read", "read", "mb_written", "written", "bytes", "tensor", "moves",
         "verdict")


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


def cases(root, option, names):
    """The op tests in parts that run side by side: by operator, those of many cases by pass and properties, under a
    sanitizer by type; the longest first, by the counts of the committed evidence."""
    known = committed(root).get("tests", {})
    count = {name: known.get(name, {}).get("passed", MANY_CASES) for name in names}
    parts = []
    for name in names:
        if option == "all" and count[name] >= MANY_CASES:
            parts += [(count[name] * share, f"{name}.{part} {name} all all all {part} --cases")
                      for part, share in PASSES]
            parts.append((count[name] / 16, f"{name}.properties {name} --properties"))
        elif option == "--small" and count[name] >= MANY_CASES:
            parts += [(count[name] / 3, f"{name}.{dtype} {name} all all {dtype}") for dtype in ("f32", "bf16", "f16")]
        else:
            parts.append((count[name], f"{name} {name}"))
    return [line if option == "all" else f"{line} {option}" for _, line in sorted(parts, reverse=True)]


# --- what was found ---

def plan(work):
    """What was to be run: by name, its last argument."""
    path = work / "plan"
    lines = path.read_text().splitlines() if path.exists() else []
    return {line.split()[0]: line.split()[-1] for line in lines}


def ended(text):
    """Exit code and seconds of a log; None where it was stopped."""
    found = re.search(r"^exit (\d+) (\d+)\s*\Z", text, re.M)
    return (int(found[1]), int(found[2])) if found else None


def logs(work, kind):
    """By name, what was written; of those that the time was too short for, nothing."""
    names = {name.split(".", 1)[1] for name in plan(work) if name.split(".", 1)[0] == kind}
    found = {p.name.split(".", 1)[1]: p.read_text(errors="replace") for p in sorted(work.glob(kind + ".*"))}
    return dict(sorted({**dict.fromkeys(names, ""), **found}.items()))


def rows(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def state_of(text, good=(0,)):
    end = ended(text)
    if end is None or end[0] in STOPPED:
        return "stopped"
    return "ok" if end[0] in good else "skipped" if end[0] == SKIPPED else "failed"


def tests(work, kind):
    """By test: counts of its last lines, or that it was skipped, stopped or crashed; of a test in parts their sum,
    and the worst that became of one."""
    result = {}
    for log, text in logs(work, kind).items():
        name = log.split(".")[0]
        found = [tuple(int(n or 0) for n in row) for row in COUNTS.findall(text)]
        passed, failed, unsupported = (sum(column) for column in zip(*found)) if found else (0, 0, 0)
        state, part = state_of(text), result.get(name)
        if part:
            state = max(state, part["state"], key=STATES.index)
            passed, failed = passed + part["passed"], failed + part["failed"]
            unsupported += part["unsupported"]
        result[name] = {"state": state, "passed": passed, "failed": failed, "unsupported": unsupported}
        if kind == "large":
            result[name]["no_room"] = len(re.findall(r"^skip ", text, re.M))
    return result


def number(text):
    try:
        return float(text)
    except ValueError:
        return text


def costs(work):
    """What test_gpu_costs counted over cost(): a row an operator, pass and provider."""
    result = {"state": "not run", "passed": 0, "failed": 0, "unsupported": 0, "rows": []}
    for name, found in tests(work, "costs").items():
        result.update(found)
        for line in logs(work, "costs")[name].splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if line.startswith("| ") and len(cells) == len(COSTS) and cells[-1] in ("ok", "FAIL"):
                result["rows"].append(dict(zip(COSTS, map(number, cells))))
    return result


def costs_table(found):
    heads = ("operator", "pass", "provider", "shape", "MB read", "counted / cost", "MB written", "counted / cost",
             "all bytes", "tensor operations", "moves", "")
    lines = ["| " + " | ".join(heads) + " |", "|---|---|---|---|" + "---:|" * 6 + "---|---|"]
    return "\n".join(lines + ["| " + " | ".join(str(row[c]) for c in COSTS) + " |" for row in found["rows"]])


def golden(root, work):
    """A case that the CPU does right and the device does not take is a fault."""
    path, result = root / "tests/golden/gaps.txt", {}
    known = {line.split()[0] for line in path.read_text().splitlines()} if path.exists() else set()
    for dtype, text in logs(work, "golden").items():
        verdicts = collections.Counter(row["verdict"] for row in rows(text))
        gaps = {row["case"] for row in rows(text) if row["verdict"] == "unsupported"} - known
        result[dtype] = {"state": "failed" if gaps else state_of(text, (0, 6)),
                         **{v: verdicts[v] for v in ("ok", "mismatch", "unsupported")}}
    return result


def fuzz(work):
    """How many cells, how many of them wrong, and by operator and pass the cell nearest to its bound, with the tensor
    that is: in pass bwd a gradient."""
    result, worst = {"state": "ok", "cells": 0, "wrong": 0}, {}
    for text in logs(work, "fuzz").values():
        state = state_of(text)
        if state != "ok" and result["state"] != "failed":
            result["state"] = "stopped" if state == "stopped" else "failed"
        for row in rows(text):
            result["cells"] += int(row["cells"])
            result["wrong"] += int(row["wrong"])
            is_infinite = row["worst_error"] is None and row["wrong"] > 0  # which has no JSON form
            share = math.inf if is_infinite else (row["worst_error"] or 0) / (row["tolerance"] or 1)
            best = worst.setdefault(row["op"], {}).setdefault(row["pass"], {"share": -1.0})
            if share > best["share"]:
                best.update(share=share, rel_l2=row["worst_error"], tolerance=row["tolerance"],
                            tensor=row["worst_tensor"], cell=row["worst_cell"])
    for passes in worst.values():
        for found in passes.values():
            del found["share"]
    return result, worst


def sanitizers(work):
    """By tool; an operator is named where any part of it has errors or did not end."""
    result = {}
    for tool in TOOLS:
        found = logs(work, tool)
        if not found:
            continue
        errors, counted, dirty, stopped = 0, 0, set(), set()
        chosen = {option for name, option in plan(work).items() if name.startswith(tool + ".")}
        for name, text in found.items():
            numbers = [int(a or c) for a, _, c in ERRORS.findall(text)]
            count = COUNTS.search(text)
            op = name.split(".")[0]
            # a test that fails under a tool ends with 1, one whose tool found something with 3
            if state_of(text, (0, 3)) not in ("ok", "skipped") or not numbers:
                stopped.add(op)
            errors += sum(numbers)
            if sum(numbers):
                dirty.add(op)
            counted += int(count[1]) if count else 0
        result[tool] = {"errors": errors, "with_errors": sorted(dirty), "not_finished": sorted(stopped),
                        "cases": counted, "set": "; ".join(SETS[option] for option in sorted(chosen))}
    return result


def spent(work):
    """Seconds of the processes of each kind, and the longest of them."""
    result = {}
    for kind in ("tests", "costs", "golden", "fuzz", "large", *TOOLS, "suite"):
        ends = {name: ended(text) for name, text in logs(work, kind).items()}
        times = {name: end[1] for name, end in ends.items() if end}
        if times:
            longest = max(times, key=times.get)
            result[kind] = {"seconds": sum(times.values()), "longest": longest, "longest_seconds": times[longest]}
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


def version(program):
    try:
        return subprocess.run([str(program), "--version"], capture_output=True, text=True,
                              check=False).stdout.strip()
    except OSError:
        return ""


def is_of_other_code(seqmark, code):
    """Whether the worker beside it says that its kernels are none of these; a line on stderr where they are."""
    worker = seqmark.parent / "seqmark-worker"
    built = re.search(r"device code ([0-9a-f]{16})$", version(worker))
    if built is None or built[1] == code:
        return False
    print(f"gpu_evidence: {worker} is of device code {built[1]}, the tree of {code}: build it again", file=sys.stderr)
    return True


def is_bad(found):
    states = [t["state"] for kind in ("tests", "large", "golden") for t in found[kind].values()]
    states.append(found["costs"]["state"])
    return (any(state in ("failed", "stopped") for state in states) or found["fuzz"]["state"] != "ok" or
            found["fuzz"]["wrong"] > 0 or
            any(s["errors"] or s["not_finished"] for s in found["sanitizers"].values()))


def carry_on(found, before, work):
    """What an earlier call found and this one did not run."""
    if any(before.get(key) != found[key] for key in ("code", "scope", "device", "driver")):
        return
    for kind in ("tests", "large", "golden", "worst", "sanitizers", "spent"):
        found[kind] = {**before[kind], **found[kind]}
    for kind in ("costs", "fuzz"):
        if not logs(work, kind):
            found[kind] = before[kind]
    found["seconds"] += before["seconds"]


def write(root, seqmark, work, scope, seconds, before=None):
    name, driver = device()
    random, worst = fuzz(work)
    found = {**hashes(root), "scope": scope, "build": version(seqmark), "device": name, "driver": driver,
             "seconds": int(seconds), "spent": spent(work), "tests": tests(work, "tests"),
             "costs": costs(work), "large": tests(work, "large"),
             "golden": golden(root, work), "fuzz": random, "worst": worst, "sanitizers": sanitizers(work)}
    if before and before.exists():
        carry_on(found, json.loads(before.read_text()), work)
    if suites(work):
        found["suites"] = suites(work)
    found["status"] = int(is_bad(found) or is_of_other_code(seqmark, found["code"]))
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
    print("costs:", {key: value for key, value in found["costs"].items() if key != "rows"})
    for row in found["costs"]["rows"]:
        if row["verdict"] != "ok":
            print(f"cost of {row['op']} {row['pass']} {row['provider']}: read {row['read']}, written {row['written']}, "
                  f"tensor {row['tensor']}")
    for dtype, counts in found["golden"].items():
        print(f"golden {dtype}: {counts}")
    print(f"fuzz: {found['fuzz']}")
    for tool, result in found["sanitizers"].items():
        print(f"{tool}: {result}")
    for kind, of in found["spent"].items():
        print(f"{kind}: {of['seconds']} s of processes, longest {of['longest']}, {of['longest_seconds']} s")
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
    elif verb == "code":
        print(hashes(path)["code"])
    elif verb == "built":
        return int(is_of_other_code(pathlib.Path(words[2]), hashes(path)["code"]))
    elif verb == "cases":
        print("".join(line + "\n" for line in cases(path, words[2], words[3:])), end="")
    elif verb == "write":
        return write(path, pathlib.Path(words[2]), pathlib.Path(words[3]), *words[4:6], *map(pathlib.Path, words[6:7]))
    elif verb == "summary":
        summary(path)
    elif verb == "costs":
        print(costs_table(json.loads(path.read_text())["costs"]))
    elif verb == "stale":
        print(stale(path))
    else:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
