#!/usr/bin/env python3
"""Adapter of peers that run on PyTorch: its own operators, and, where they can be imported, fla,
mamba-ssm, causal-conv1d and flash-attn (docs/peers.md has the table; torch_operators.py the calls,
torch_run.py what is done with them). Nothing of these is imported before a cell asks for it."""
import importlib.metadata
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import triton_tuning  # noqa: E402
from seqmark_adapter import ELEMENT_BYTES, Outcome, serve  # noqa: E402
from torch_operators import IMPLEMENTATIONS  # noqa: E402

# What a peer says at a call that it cannot do: scaled_dot_product_attention where the one backend that
# is allowed has no kernel, a scan built for some types alone, fla where Triton's code would be wrong.
NO_KERNEL = ("No available kernel", "No viable backend", "was built for", "produces incorrect results")


def version_of(package):
    if package == "torch" and package in sys.modules:
        return sys.modules[package].__version__  # with the CUDA version that it was built for
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def bytes_of(tensors):
    return sum(math.prod(t["shape"]) * ELEMENT_BYTES[t["dtype"]] for t in tensors)


class TorchPeers:
    name = "torch"

    def versions(self):
        version = version_of("torch")
        return {"torch": version} if version else {}

    def implementations(self, device, survey):
        return [{"operator": i.operator, "name": i.name,
                 **({"missing": i.missing()} if survey else {})} for i in IMPLEMENTATIONS]

    def find(self, cell):
        for i in IMPLEMENTATIONS:
            if (i.operator, i.name) == (cell["operator"], cell["implementation"]):
                return i
        raise Outcome("unsupported", f"no {cell['implementation']} of {cell['operator']}")

    def check(self, cell):
        impl = self.find(cell)
        if impl.is_triton:
            triton_tuning.keep_all()
        reason = impl.why_not(cell, self.device)
        answer = {"supported": not reason, "reason": reason}
        if not reason:
            copies = bytes_of(cell["inputs"] + cell.get("gradients", [])) * cell["copies"]
            answer["bytes"] = copies + bytes_of(cell["outputs"])
            if self.device != "cpu":
                import torch
                answer["free_bytes"] = torch.cuda.mem_get_info(int(self.device))[0]
        return answer

    def run(self, cell, session):
        impl = self.find(cell)
        import torch
        from torch_run import Measurement
        try:
            with torch.no_grad(), impl.around():
                record = Measurement(impl, cell, session, self.device).record()
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


if __name__ == "__main__":
    serve(TorchPeers())
