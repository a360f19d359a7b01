#!/usr/bin/env python3
"""An adapter of docs/peers.md for the tests: rmsnorm in plain Python on the CPU, honest and slow, and
everything that a peer may do wrong. $FAKE_PEER says what: well (default), hello-crash, hello-hang,
hello-name, hello-abi, hello-garbage, missing, unsupported, check-crash, crash, exit, hang, garbage,
 refuse, no-record, count (says another n), negative, zero,
fraction, huge-sum (samples longer than the exchange), too-fast, too-many, no-samples, status,
bad-count, slowed (more samples dropped than kept), all-dropped, doubtful (late and unheld samples), nan,
wrong, short, long, lazy (only the first launch computes), unmasked (in pass bwd the last launch has all of
the gradient), no-file, folder, die-after. $FAKE_WHEN: only for cells whose key holds this text.
Modes of single cells may also be given as "zero@L=4, nan@L=8,": a mode, '@' and a text of the key each.
$FAKE_LOG: a file that gets one line (pid and request) for every request.
"""
import array
import json
import math
import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench/external"))
from seqmark_adapter import Session, proof_part  # noqa: E402

MODE = os.environ.get("FAKE_PEER", "well")
WHEN = os.environ.get("FAKE_WHEN", "")
LOG = os.environ.get("FAKE_LOG", "")


def mode_of(cell):
    """How the cell with this key is to be spoiled."""
    for mode, text in (part.split("@") for part in MODE.split() if "@" in part):
        if text in cell:
            return mode
    return MODE if "@" not in MODE and WHEN in cell else "well"


def babble(session, text):
    os.write(session._out.fileno(), text)  # pylint: disable=protected-access


def normalise(x, w, y, rows, width, eps):
    for r in range(rows):
        row = x[r * width:(r + 1) * width]
        scale = 1 / math.sqrt(sum(v * v for v in row) / width + eps)
        for i, v in enumerate(row):
            y[r * width + i] = v * scale * w[i]


def differentiate(x, w, dy, dx, dw, rows, width, eps):
    """Gradients by x and w of the loss that dy is the gradient of."""
    dw[:] = array.array("f", bytes(4 * width))
    for r in range(rows):
        at = range(r * width, (r + 1) * width)
        scale = 1 / math.sqrt(sum(x[i] ** 2 for i in at) / width + eps)
        mean = sum(w[i - at[0]] * dy[i] * x[i] for i in at) * scale ** 2 / width
        for i in at:
            dx[i] = scale * (w[i - at[0]] * dy[i] - x[i] * mean)
            dw[i - at[0]] += dy[i] * x[i] * scale


def zeros(tensor):
    return array.array("f", bytes(4 * math.prod(tensor["shape"])))


def draw(tensors, cell, timer):
    drawn = {}
    for tensor in tensors:
        drawn[tensor["name"]] = zeros(tensor)
        timer.fill(drawn[tensor["name"]].buffer_info()[0], cell, tensor)
    return drawn


def cut(data, gradient):
    """0 outside of the part that is proved."""
    (_, length, width), part = gradient["shape"], proof_part(gradient)
    for i in range(len(data)):
        at = (i // width // length, i // width % length, i % width)
        if any(not p.start <= a < p.stop for p, a in zip(part, at)):
            data[i] = 0


LIES = {
    "count": lambda r: {**r, "n": r["n"] + 2},
    "negative": lambda r: {**r, "samples": [-5] + r["samples"][1:]},
    "zero": lambda r: {**r, "samples": [0] + r["samples"][1:]},
    "fraction": lambda r: {**r, "samples": [1.5] + r["samples"][1:]},
    "huge-sum": lambda r: {**r, "samples": [2000000000] * r["n"]},
    "too-fast": lambda r: {**r, "samples": [7] * r["n"]},
    "too-many": lambda r: {**r, "n": 5000, "samples": [1000] * 5000},
    "no-samples": lambda r: {**r, "n": 0, "samples": []},
    "status": lambda r: {**r, "status": "splendid"},
    "bad-count": lambda r: {**r, "dropped": -1},
    "slowed": lambda r: {**r, "dropped": r["n"] + 1, "drop_reason": "power brake for 3 ms"},
    "all-dropped": lambda r: {**r, "n": 0, "samples": [], "dropped": 20, "drop_reason": "heat"},
    "doubtful": lambda r: {**r, "late": 2, "unheld": r["n"]},
}


class FakePeers:
    name = "nobody" if MODE == "hello-name" else "fake"

    def versions(self):
        return {"fake": "1.0"}

    def implementations(self, device, survey):
        missing = "not importable: No module named 'fake'" if MODE == "missing" else ""
        return [{"operator": "rmsnorm", "name": "plain", "missing": missing},
                {"operator": "ssd", "name": "plain", "missing": missing}]

    def check(self, cell):
        reason = ""
        if cell["operator"] != "rmsnorm" or cell["dtype"] != "f32" or cell["axes"]["gate"] != "none":
            reason = "only rmsnorm in f32 without a gate"
        if MODE == "missing":
            reason = self.implementations("cpu", True)[0]["missing"]
        if mode_of(cell["cell"]) == "unsupported":
            reason = "not on a Sunday"
        return {"supported": not reason, "reason": reason, "bytes": 4096, "free_bytes": 8e9}

    def run(self, cell, session):
        axes, backward, mode = cell["axes"], cell["pass"] == "bwd", mode_of(cell["cell"])
        session.stage("inputs")
        x, w = draw(cell["inputs"], cell, session.timer).values()
        given = draw(cell.get("gradients", []), cell, session.timer)
        out = [zeros(tensor) for tensor in cell["outputs"]]
        shape, launches = (axes["B"] * axes["L"], axes["D"], axes["eps"]), []

        def launch(copy):
            if not (mode == "lazy" and launches):
                if backward:
                    differentiate(x, w, given["y"], *out, *shape)
                else:
                    normalise(x, w, *out, *shape)
            launches.append(copy)

        def poison():
            for data in out:
                data[:] = array.array("f", [math.nan]) * len(data)
            if backward and mode != "unmasked":
                cut(given["y"], cell["gradients"][0])

        session.stage("samples")
        record = session.timer.measure(cell, launch, poison)
        for tensor, data in zip(cell["outputs"], out):
            if "file" in tensor:
                with open(tensor["file"], "wb") as file:
                    file.write(self.spoil(cell, data).tobytes())
        return {**record, "setup_ns": 0, "peak_bytes": 4 * sum(map(len, out))}

    def spoil(self, cell, y):
        mode = mode_of(cell["cell"])
        if mode == "nan":
            y[3] = math.nan
        elif mode == "wrong":
            y[3] += 1
        elif mode == "short":
            y.pop()
        elif mode == "long":
            y.append(0)
        return y


def misbehave(verb, request, session):
    """True where the request has been dealt with, in some way."""
    if verb == "hello" and MODE == "hello-crash":
        sys.exit("ImportError: libfake.so.1")
    if verb == "hello" and MODE == "hello-hang":
        time.sleep(3600)
    if verb == "hello" and MODE == "hello-garbage":
        babble(session, b"Welcome to \x1b[1mfake\n")
        return True
    if verb == "hello" and MODE == "hello-abi":
        session.say({"is": "hello", "name": "fake", "abi": 99, "implementations": []})
        return True
    mode = mode_of(request["cell"]) if verb != "hello" else "well"
    if verb == "check" and mode == "check-crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    return verb == "run" and misrun(mode, request, session)


def misrun(mode, request, session):
    session.stage("inputs")
    if mode == "crash":
        sys.stderr.write("Segmentation fault (core dumped)\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGSEGV)
    elif mode == "exit":
        sys.exit("CUDA error: an illegal memory access was encountered")
    elif mode == "hang":
        time.sleep(3600)
    elif mode == "garbage":
        babble(session, b"WARNING: \x1b[31mautotuning {] \xff\n")
    elif mode == "refuse":
        session.say({"is": "error", "message": "cannot read the request"})
    elif mode == "no-record":
        session.say({"is": "record", "record": 7})
    elif mode in LIES:
        record = FakePeers().run(request, session)
        session.say({"is": "record", "record": LIES[mode](record)})
    elif mode in ("no-file", "folder"):
        quiet = {**request, "outputs": [{**o, "file": "/dev/null"} for o in request["outputs"]]}
        if mode == "folder":
            os.mkdir(request["outputs"][0]["file"])
        session.say({"is": "record", "record": FakePeers().run(quiet, session)})
    elif mode == "die-after":
        session.say({"is": "record", "record": FakePeers().run(request, session)})
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        return False
    return True


class FakeSession(Session):
    def serve(self):
        for line in sys.stdin:
            request = json.loads(line)
            verb = request["do"]
            if LOG:
                with open(LOG, "a", encoding="utf-8") as log:
                    log.write(json.dumps({"pid": os.getpid(), **request}) + "\n")
            if not misbehave(verb, request, self):
                self.answer(request)

    def answer(self, request):
        verbs = {"hello": self._hello, "check": self._check, "run": self._run}
        verbs[request["do"]](request)


FakeSession(FakePeers()).serve()
