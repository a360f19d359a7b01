"""What adapters in Python share: the lines of docs/peers.md, and libseqmark_time.so by ctypes.

An adapter is an object with a name and four methods, handed to serve(), which sets its `device`:

    implementations(device, survey) -> [{"operator": .., "name": .., "missing": "" or why}, ..]
                               ("missing" only where survey is true: it is then that imports are tried)
    versions()              -> {"package": "version", ..}
    check(cell)             -> {"supported": bool, "reason": .., "bytes": .., "free_bytes": ..}
    run(cell, session)      -> the record, a dict (or raise Outcome)

Only the standard library is needed here. docs/peers.md tells what the fields mean.
"""
import contextlib
import ctypes
import importlib
import json
import os
import platform
import sys
import threading
import time

import seqmark_time

PROTOCOL = 2  # of docs/peers.md
LONGEST_LAUNCH_SECONDS = 2.1
LONGEST_IMPORT_SECONDS = 120  # PyTorch from a cold network file system takes tens
ELEMENT_BYTES = {"bf16": 2, "f16": 2, "f32": 4}


class Outcome(Exception):
    """A cell that ends without a time: unsupported, oom, skipped or error."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status, self.reason = status, reason


def why_not_importable(module, load=importlib.import_module):
    """"" where `module` can be imported, by `load`, else "not importable: ..."."""
    try:
        load(module)
    except Exception as error:  # a broken package may raise anything
        text = " ".join(str(error).split()) or type(error).__name__
        return f"not importable: {text[:160]}"
    return ""


# --- libseqmark_time.so ---

_STATUS_OF_CODE = {2: "unsupported", 3: "oom"}


def proof_part(gradient):
    """What is left of the gradient of an output in the last launch of pass bwd, a slice for each dim;
    the rest is 0."""
    return tuple(slice(first, first + count) for first, count in
                 gradient.get("proof", [(0, dim) for dim in gradient["shape"]]))


class Timer:
    """seqmark's own clock, cache sweeps and inputs, on one device."""

    def __init__(self, library, device):
        if not library:
            raise Outcome("error", "libseqmark_time.so was not found by seqmark")
        try:
            self._lib = seqmark_time.load(library)
        except OSError as error:
            raise Outcome("error", str(error)) from error
        self._timer = ctypes.c_void_p()
        self._check(self._lib.sqt_open(device.encode(), None, ctypes.byref(self._timer)))
        self._error = None

    def _check(self, code):
        if code:
            text = (self._lib.sqt_message(self._timer) or b"").decode(errors="replace")
            raise Outcome(_STATUS_OF_CODE.get(code, "error"), text)

    @property
    def stream(self):
        """The cudaStream_t that launches must be enqueued on, as a number; None on the CPU."""
        return self._lib.sqt_stream(self._timer)

    def fill(self, address, cell, tensor):
        """Draws input `tensor` of `cell` at `address`, with the bits that seqmark has."""
        count = 1
        for dim in tensor["shape"]:
            count *= dim
        self._check(self._lib.sqt_fill(
            self._timer, ctypes.c_void_p(address), tensor["dtype"].encode(),
            ctypes.c_int64(count), tensor["draw"].encode(), ctypes.c_uint64(int(cell["seed"])),
            ctypes.c_uint32(tensor["id"])))

    def measure(self, cell, launch, poison, mode=None, copies=1):
        """Times launch(copy), which enqueues one call; the record's fields. mode: of the cell where
        not given ("plain" for a launch that replays a graph by itself). Then poison() must spoil
        what the launches wrote, in pass bwd also leave of the gradients of outputs what proof_part
        says, and launch(0) is enqueued once more: what it leaves is the output, so that a launch
        which does nothing cannot pass by the result of an earlier one."""
        told = cell["policy"]
        limit = min(told["max_cell_seconds"], LONGEST_LAUNCH_SECONDS)
        policy = seqmark_time.Policy(told["warmup_launches"], told["warmup_seconds"], told["min_samples"],
                         max(told["min_samples"], told["max_samples"]), told["max_seconds"],
                         told["target_interval"], limit, told["rest"])
        samples, result = (ctypes.c_int32 * policy.max_samples)(), seqmark_time.Result()

        def enqueue(_, copy):
            try:
                launch(copy)
                return 0
            except BaseException as error:  # nothing may pass through the C caller
                self._error = error
                return 1

        self._error = None
        code = self._lib.sqt_measure(
            self._timer, ctypes.byref(policy), cell["cache"].encode(),
            (mode or cell["launch"]).encode(), copies, seqmark_time.LAUNCH(enqueue), None, samples,
            ctypes.byref(result))
        if self._error:
            raise self._error
        self._check(code)
        if result.is_too_long:
            raise Outcome("skipped", f"a launch takes {result.launch_seconds:.3g} s, the limit is "
                                     f"{limit:.3g} s")
        poison()
        launch(0)
        return {"status": "ok", "samples": list(samples[:result.n]), **told_of(result)}


def told_of(result):
    """What the library says beside the samples, as docs/peers.md names it; NaN is absent."""
    told = {"n": result.n, "dropped": result.n_dropped, "late": result.n_late,
            "unheld": result.n_unheld, "batch": result.batch,
            "warmup_launches": result.warmup_launches, "warmup_drift": result.warmup_drift,
            "sm_mhz": result.sm_mhz, "drop_reason": result.drop_reason.decode(errors="replace")}
    return {name: value for name, value in told.items() if value == value}


# --- the session ---


class Session:
    """One process that answers a parent: its lines, its timer, its signs of life."""

    def __init__(self, adapter):
        self.adapter = adapter
        self.device, self._library, self._timer = "cpu", "", None
        # What libraries print must not come between the lines.
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._lock = threading.Lock()

    @property
    def timer(self):
        if self._timer is None:
            self._timer = Timer(self._library, self.device)
        return self._timer

    def say(self, message):
        with self._lock:
            self._out.write(json.dumps(message) + "\n")
            self._out.flush()

    def stage(self, name):
        """A sign of life; the parent ends a process that is silent for --timeout."""
        self.say({"is": "stage", "stage": name})

    @contextlib.contextmanager
    def alive(self, name, every=5, at_most=600):
        """Signs of life while something long but bounded goes on: compiling, tuning."""
        done = threading.Event()

        def beat():
            until = time.monotonic() + at_most
            while not done.wait(every) and time.monotonic() < until:
                self.stage(name)

        self.stage(name)
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    # --- requests ---

    def _hello(self, request):
        self.device = self.adapter.device = request.get("device", "cpu")
        self._library = request.get("library", "")
        self.say({"is": "hello", "name": self.adapter.name, "abi": PROTOCOL,
                  "versions": self.versions(),
                  "implementations": self.adapter.implementations(
                      self.device, request.get("survey", False))})

    @staticmethod
    def clock():
        return time.monotonic()

    def versions(self):
        return {"python": platform.python_version(), **self.adapter.versions()}

    def _check(self, request):
        with self.alive("import", at_most=LONGEST_IMPORT_SECONDS):
            answer = self.adapter.check(request)
        self.say({"is": "check", "cell": request["cell"], **answer})

    def _run(self, request):
        try:
            record = self.adapter.run(request, self)
        except Outcome as outcome:
            record = {"status": outcome.status, "reason": outcome.reason}
        record.setdefault("versions", self.versions())
        self.say({"is": "record", "record": {"cell": request["cell"], **record}})

    def serve(self):
        verbs = {"hello": self._hello, "check": self._check, "run": self._run}
        for line in sys.stdin:
            try:
                request = json.loads(line)
                verbs[request["do"]](request)
            except Exception as error:
                text = " ".join(f"{type(error).__name__}: {error}".split())
                self.say({"is": "error", "message": text[:300]})


def serve(adapter):
    Session(adapter).serve()
