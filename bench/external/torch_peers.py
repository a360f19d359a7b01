#!/usr/bin/env python3
"""Adapter of peers that run on PyTorch: its own operators, and, where they can be imported, fla,
mamba-ssm, causal-conv1d and flash-attn (docs/peers.md has the table; torch_operators.py the calls)."""
import importlib.metadata
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from seqmark_adapter import ELEMENT_BYTES, Outcome, proof_part, serve  # noqa: E402
from torch_operators import DTYPES, IMPLEMENTATIONS, TORCH_MISSING  # noqa: E402

if not TORCH_MISSING:
    import torch

# What a peer says at a call that it cannot do: scaled_dot_product_attention where the one backend that
# is allowed has no kernel, a scan built for some types alone, fla where Triton's code would be wrong.
NO_KERNEL = ("No available kernel", "No viable backend", "was built for", "produces incorrect results")


def version_of(package):
    if package == "torch" and not TORCH_MISSING:
        return torch.__version__
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def allocate(tensor, device):
    return torch.empty(tensor["shape"], dtype=DTYPES[tensor["dtype"]], device=device)


def drawn(tensor, cell, timer, device):
    made = allocate(tensor, device)
    timer.fill(made.data_ptr(), cell, tensor)
    return made


def bytes_of(tensors):
    return sum(math.prod(t["shape"]) * ELEMENT_BYTES[t["dtype"]] for t in tensors)


class Forward:
    """One implementation on one set of inputs; keeps its last result."""

    stream = None  # that a graph is captured on; None: one of PyTorch's own

    def __init__(self, impl, cell, inputs):
        self.own, self.run, self.finish = impl.prepare(cell, inputs)
        self.result = None

    def __call__(self):
        self.result = None  # its memory serves the next result
        self.result = self.run(self.own)

    def outputs(self):
        return self.finish(self.result)

    def spoil(self):
        self.result.fill_(math.nan)


class Backward:
    """The gradients of one implementation on one set of inputs; keeps the last ones. Its forward pass
    runs once. What is timed begins and ends in the peer's own layout: what brings our tensors there
    and back is differentiated outside of it."""

    stream = None  # that its kernels are enqueued on: that of the forward pass, wherever it is called

    def __init__(self, impl, cell, inputs, draw):
        self.cell, self.draw = cell, draw
        with torch.enable_grad():
            self.ours = {name: t.requires_grad_() for name, t in inputs.items()}
            self.own, run, self.finish = impl.prepare(cell, self.ours)
            self.leaves = {name: t.detach().requires_grad_() for name, t in self.own.items()}
            self.result = run(self.leaves)
        self.given = torch.empty_like(self.result)
        self.gradients = None
        self.give(lambda tensor, gradient: tensor)
        if self.result.is_cuda:
            self.stream = torch.cuda.current_stream()

    def give(self, change):
        """Draws the gradients of our outputs; `change`(tensor, what the cell says of it) of them
        becomes that of the result."""
        with torch.enable_grad():
            result = self.result.detach().requires_grad_()
            ours = self.finish(result)
        told = self.cell["gradients"]
        given = [change(self.draw(gradient), gradient) for gradient in told]
        (gradient,) = torch.autograd.grad([ours[g["name"]] for g in told], [result], given)
        self.given.copy_(gradient)

    def __call__(self):
        self.gradients = None  # their memory serves the next ones
        self.gradients = torch.autograd.grad(self.result, list(self.leaves.values()), self.given,
                                             retain_graph=True)

    def outputs(self):
        gradients = torch.autograd.grad(list(self.own.values()), list(self.ours.values()),
                                        self.gradients, retain_graph=True)
        return dict(zip(self.ours, gradients))

    def spoil(self):
        for gradient in self.gradients:
            gradient.fill_(math.nan)
        self.give(cut)


def cut(tensor, gradient):
    """0 outside of the part that the proof is of."""
    part = proof_part(gradient)
    kept = tensor[part].clone()
    tensor.zero_()[part] = kept
    return tensor


class TorchPeers:
    name = "torch"

    def versions(self):
        return {"torch": version_of("torch")} if not TORCH_MISSING else {}

    def implementations(self, device):
        return [{"operator": i.operator, "name": i.name, "missing": i.missing()}
                for i in IMPLEMENTATIONS]

    def find(self, cell):
        for i in IMPLEMENTATIONS:
            if (i.operator, i.name) == (cell["operator"], cell["implementation"]):
                return i
        raise Outcome("unsupported", f"no {cell['implementation']} of {cell['operator']}")

    def check(self, cell):
        reason = self.find(cell).why_not(cell, self.device)
        answer = {"supported": not reason, "reason": reason}
        if not reason:
            copies = bytes_of(cell["inputs"] + cell.get("gradients", [])) * cell["copies"]
            answer["bytes"] = copies + bytes_of(cell["outputs"])
            if self.device != "cpu":
                answer["free_bytes"] = torch.cuda.mem_get_info(int(self.device))[0]
        return answer

    # --- run ---

    def run(self, cell, session):
        impl = self.find(cell)
        try:
            with torch.no_grad(), impl.around():
                record = self.measure(impl, cell, session)
        except torch.OutOfMemoryError as error:
            raise Outcome("oom", str(error).split("\n", maxsplit=1)[0]) from None
        except RuntimeError as error:
            if not any(text in str(error) for text in NO_KERNEL):
                raise
            raise Outcome("unsupported", " ".join(str(error).split())[:200]) from None
        finally:
            if self.device != "cpu":
                torch.cuda.empty_cache()
        versions = {p: version_of(p) for p in impl.packages}
        record["versions"] = {**session.versions(), **{p: v for p, v in versions.items() if v}}
        return record

    def measure(self, impl, cell, session):
        on_gpu = self.device != "cpu"
        place = f"cuda:{self.device}" if on_gpu else "cpu"
        timer = session.timer
        if not on_gpu:
            return self.measure_on(impl, cell, session, timer, place)
        torch.cuda.set_device(int(self.device))
        torch.cuda.reset_peak_memory_stats()
        with torch.cuda.stream(torch.cuda.ExternalStream(timer.stream)):
            record = self.measure_on(impl, cell, session, timer, place)
        record["peak_bytes"] = torch.cuda.max_memory_allocated()
        return record

    def draw(self, cell, session, place):
        """One set of inputs for each copy; the later ones are copies of the first."""
        session.stage("inputs")
        first = {t["name"]: drawn(t, cell, session.timer, place) for t in cell["inputs"]}
        more = [{name: t.clone() for name, t in first.items()} for _ in range(cell["copies"] - 1)]
        self.wait()
        return [first, *more]

    def wait(self):
        if self.device != "cpu":
            torch.cuda.synchronize()

    def measure_on(self, impl, cell, session, timer, place):
        sets = self.draw(cell, session, place)

        def make(inputs):
            if cell["pass"] == "fwd":
                return Forward(impl, cell, inputs)
            return Backward(impl, cell, inputs, lambda t: drawn(t, cell, timer, place))
        with session.alive("compile"):
            start = session.clock()
            calls = [make(inputs) for inputs in sets]
            for call in calls:
                call()
            self.wait()
            setup_ns = 1e9 * (session.clock() - start)
        launches, mode = calls, cell["launch"]
        if mode == "graph" and place != "cpu":
            session.stage("capture")
            launches, mode = [capture(call) for call in calls], "plain"
        session.stage("samples")
        record = timer.measure(cell, lambda copy: launches[copy](), calls[0].spoil, mode, len(calls))
        self.wait()
        write(cell, calls[0].outputs())
        record["setup_ns"] = setup_ns
        return record


def capture(call):
    """The call as a CUDA graph of PyTorch's, whose memory pool the replays own."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, stream=call.stream):
        call()
    return graph.replay


def write(cell, results):
    for output in cell["outputs"]:
        if "file" not in output:
            continue
        result = results[output["name"]].detach().to(DTYPES[output["dtype"]]).contiguous().cpu()
        if list(result.shape) != output["shape"]:
            raise Outcome("error", f"{output['name']} has shape {list(result.shape)}")
        with open(output["file"], "wb") as file:
            file.write(result.reshape(-1).view(torch.uint8).numpy().tobytes())


def settle():
    """f32 is f32, and 16-bit products accumulate in f32, as our operators say."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False


if __name__ == "__main__":
    if not TORCH_MISSING:
        settle()
    serve(TorchPeers())
