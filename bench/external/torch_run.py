"""One cell of torch_peers.py: drawn, set up, timed, written. It imports PyTorch, and is imported with the
first cell."""
import math

import torch

from seqmark_adapter import Outcome, proof_part
from torch_operators import DTYPES


def settle():
    """f32 is f32, and 16-bit products accumulate in f32, as our operators say."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False


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


class Measurement:
    """An implementation's cell on a device ("cpu" or a CUDA device's number)."""

    def __init__(self, impl, cell, session, device):
        self.impl, self.cell, self.session, self.timer = impl, cell, session, session.timer
        self.on_gpu = device != "cpu"
        self.place = f"cuda:{device}" if self.on_gpu else "cpu"

    def record(self):
        settle()
        if not self.on_gpu:
            return self.measure()
        torch.cuda.set_device(self.place)
        torch.cuda.reset_peak_memory_stats()
        with torch.cuda.stream(torch.cuda.ExternalStream(self.timer.stream)):
            record = self.measure()
        record["peak_bytes"] = torch.cuda.max_memory_allocated()
        return record

    def drawn(self, tensor):
        made = torch.empty(tensor["shape"], dtype=DTYPES[tensor["dtype"]], device=self.place)
        self.timer.fill(made.data_ptr(), self.cell, tensor)
        return made

    def draw(self):
        """One set of inputs for each copy; the later ones are copies of the first."""
        self.session.stage("inputs")
        first = {t["name"]: self.drawn(t) for t in self.cell["inputs"]}
        copies = range(self.cell["copies"] - 1)
        more = [{name: t.clone() for name, t in first.items()} for _ in copies]
        self.wait()
        return [first, *more]

    def wait(self):
        if self.on_gpu:
            torch.cuda.synchronize()

    def make(self, inputs):
        if self.cell["pass"] == "fwd":
            return Forward(self.impl, self.cell, inputs)
        return Backward(self.impl, self.cell, inputs, self.drawn)

    def measure(self):
        sets, cell, session = self.draw(), self.cell, self.session
        with session.alive("compile"):
            start = session.clock()
            calls = [self.make(inputs) for inputs in sets]
            for call in calls:
                call()
            self.wait()
            setup_ns = 1e9 * (session.clock() - start)
        launches, mode = calls, cell["launch"]
        if mode == "graph" and self.on_gpu:
            session.stage("capture")
            launches, mode = [capture(call) for call in calls], "plain"
        session.stage("samples")
        record = self.timer.measure(cell, lambda copy: launches[copy](), calls[0].spoil, mode,
                                    len(calls))
        self.wait()
        write(cell, calls[0].outputs())
        return {**record, "setup_ns": setup_ns}


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
