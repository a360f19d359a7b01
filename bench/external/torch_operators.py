"""The calls of torch_peers.py: PyTorch's own operators, fla, mamba-ssm, causal-conv1d, flash-attn.

An implementation is a class below: which operator it is of, what it must import, what it refuses, and
prepare(cell, inputs), which brings the inputs into the peer's own layout, once and outside the timing.
It returns these tensors by name, the call on them that is timed, whose result is one tensor, and a
function from that to our outputs. PyTorch can differentiate all three: pass bwd needs nothing more.
"""
import functools
import importlib
import math
import sys
import types

from bare_packages import import_alone
from seqmark_adapter import why_not_importable

torch = F = None  # these and DTYPES: until load_torch
DTYPES = {}
IMPLEMENTATIONS = []


@functools.cache
def load_torch():
    """Imports PyTorch; "" or why it cannot be. Not with this module: it takes seconds, for which a
    process that is only asked for names need not wait."""
    global torch, F
    why = why_not_importable("torch")
    if not why:
        import torch
        import torch.nn.functional as F
        DTYPES.update(bf16=torch.bfloat16, f16=torch.float16, f32=torch.float32)
    return why


def implementation(cls):
    IMPLEMENTATIONS.append(cls())
    return cls


class Implementation:
    operator = name = ""
    packages = ()  # distributions whose versions belong to the row
    axes = ()      # axes besides B and L that it understands; another one must be at its default
    is_triton = False

    def missing(self):
        return load_torch()

    def refuses(self, axes, dtype, device):
        """"" or why this cell cannot be run."""
        return ""

    def around(self):
        """A context that holds while the call is set up and timed."""
        return torch.no_grad()

    def why_not(self, cell, device):
        """"" or why: what all implementations refuse alike, then what this one does."""
        axes = cell["axes"]
        missing = self.missing()
        if missing:
            return missing
        if cell["pass"] not in ("fwd", "bwd"):
            return f"no pass {cell['pass']} in this adapter"
        for name, value in axes.items():
            if name not in ("B", "L", "chunk", *self.axes) and value != cell["defaults"][name]:
                return f"no {name}={value}"
        if self.is_triton and device == "cpu":
            return "Triton kernels need a GPU"
        if self.is_triton and cell["dtype"] == "f32":
            return "its products of f32 are TF32"
        return self.refuses(axes, cell["dtype"], device)


fla_module = functools.partial(import_alone, "fla.ops")
mamba_module = functools.partial(import_alone, "mamba_ssm")


def load(path, name):
    """Attribute `name` of module `path`."""
    return getattr(importlib.import_module(path), name)


# --- PyTorch ---


class Sdpa(Implementation):
    """scaled_dot_product_attention over (B, H, L, D) views of our (B, L, H, D): no copy is made. Its
    causal mask is top-left aligned, ours bottom-right: they agree where there are as many queries as
    keys, and one query sees all."""
    operator, packages = "attention", ("torch",)
    axes = ("Lk", "H", "Hkv", "D", "causal")
    backend, has_groups = "", False

    def refuses(self, axes, dtype, device):
        if axes["causal"] and axes["L"] not in (1, axes["Lk"]):
            return "its causal mask is for as many queries as keys"
        if axes["Hkv"] != axes["H"] and not self.has_groups:
            return "no grouped key/value heads"
        return ""

    def around(self):
        from torch.nn.attention import SDPBackend, sdpa_kernel
        return sdpa_kernel([getattr(SDPBackend, self.backend)])

    def prepare(self, cell, t):
        axes = cell["axes"]
        causal = bool(axes["causal"]) and axes["L"] > 1
        grouped = axes["Hkv"] != axes["H"]
        return ({name: t[name].transpose(1, 2) for name in "qkv"},
                lambda x: F.scaled_dot_product_attention(x["q"], x["k"], x["v"], is_causal=causal,
                                                         enable_gqa=grouped),
                lambda o: {"o": o.transpose(1, 2)})


def add_sdpa(name, backend, has_groups):
    implementation(type(name, (Sdpa,), {"name": name, "backend": backend,
                                        "has_groups": has_groups, "__doc__": Sdpa.__doc__}))


add_sdpa("sdpa-flash", "FLASH_ATTENTION", True)
add_sdpa("sdpa-cudnn", "CUDNN_ATTENTION", True)
add_sdpa("sdpa-efficient", "EFFICIENT_ATTENTION", False)
add_sdpa("sdpa-math", "MATH", True)


@implementation
class FftConv(Implementation):
    """torch.fft over (B, D, L), the layout of Hyena's own program: v, x1 and x0 are transposed before.
    The filter's spectrum is made at every call, as ours is; everything inside is f32."""
    operator, name, packages, axes = "long_conv", "torch-fft", ("torch",), ("D", "gate")

    def prepare(self, cell, t):
        length, dtype = cell["axes"]["L"], DTYPES[cell["dtype"]]
        own = {n: t[n].transpose(1, 2).contiguous() for n in ("v", "x1", "x0") if n in t}

        def call(x):
            u = x["v"].float() * x["x1"].float() if "x1" in x else x["v"].float()
            spectrum = torch.fft.rfft(u, n=2 * length) * torch.fft.rfft(x["h"], n=2 * length)
            y = torch.fft.irfft(spectrum, n=2 * length)[..., :length] + x["bias"] * u
            return (y * x["x0"].float() if "x0" in x else y).to(dtype)
        return ({**own, "h": t["h"], "bias": t["bias"].unsqueeze(-1)}, call,
                lambda y: {"y": y.transpose(1, 2)})


@implementation
class Linear(Implementation):
    """F.linear; a residual is added by a call of its own, after the product was rounded."""
    operator, name, packages = "linear", "linear", ("torch",)
    axes = ("K", "N", "bias", "residual")

    def prepare(self, cell, t):
        def call(x):
            y = F.linear(x["x"], x["w"], x.get("b"))
            return y.add_(x["r"]) if "r" in x else y
        return t, call, lambda y: {"y": y}


@implementation
class RmsNorm(Implementation):
    """F.rms_norm; our weight is f32 whatever x is, which its fused kernel does not take: it is
    rounded to the type of x before."""
    operator, name, packages, axes = "rmsnorm", "rms-norm", ("torch",), ("D", "groups", "weight", "eps")

    def refuses(self, axes, dtype, device):
        return "no groups" if axes["groups"] != 1 else ""

    def prepare(self, cell, t):
        eps, shape = cell["axes"]["eps"], (cell["axes"]["D"],)
        return ({name: x.to(t["x"].dtype) for name, x in t.items()},
                lambda x: F.rms_norm(x["x"], shape, x.get("w"), eps), lambda y: {"y": y})


@implementation
class Conv1d(Implementation):
    """F.conv1d over (B, D, L): x is transposed before; left padding by padding both and cutting."""
    operator, name, packages = "causal_conv1d", "conv1d", ("torch",)
    axes = ("D", "W", "silu", "bias")

    def prepare(self, cell, t):
        axes = cell["axes"]

        def call(x):
            y = F.conv1d(x["x"], x["w"], x.get("b"), padding=axes["W"] - 1, groups=axes["D"])
            y = y[..., :axes["L"]]
            return F.silu(y) if axes["silu"] else y
        return ({**t, "x": t["x"].transpose(1, 2).contiguous(), "w": t["w"].unsqueeze(1)}, call,
                lambda y: {"y": y.transpose(1, 2)})


# --- fla (flash-linear-attention) ---


def log_gamma(axes, device):
    """ln gamma of our heads, by log1p: near 1 the difference itself would lose its digits."""
    return torch.tensor([math.log1p(-2.0 ** (-5 - axes["first"] - h)) for h in range(axes["H"])],
                        dtype=torch.float32, device=device)


class FlaRetention(Implementation):
    """chunk_retention's kernels with the decays made before: fla makes them at every call, and for
    the first heads only. Its scale is ours, 1/sqrt(K)."""
    operator, packages = "retention", ("fla-core", "triton", "torch")
    axes = ("H", "K", "V", "first")

    def prepare(self, cell, t):
        decays, run = log_gamma(cell["axes"], t["q"].device), self.function()
        return (t, lambda x: run(x["q"], x["k"], x["v"], g_gamma=decays)[0], lambda o: {"o": o})


@implementation
class FlaChunk(FlaRetention):
    name, is_triton = "fla", True

    def missing(self):
        return load_torch() or why_not_importable("fla.ops.simple_gla", fla_module)

    def refuses(self, axes, dtype, device):
        return "K is at most 256" if axes["K"] > 256 else ""

    def function(self):
        return load("fla.ops.simple_gla", "chunk_simple_gla")


@implementation
class FlaNaive(FlaRetention):
    """fla's own definition by dense scores: the proof of the layout where there is no GPU."""
    name = "fla-naive"

    def missing(self):
        return load_torch() or why_not_importable("fla.ops.retention.naive", fla_module)

    def refuses(self, axes, dtype, device):
        return "its decays are those of the model's first heads" if axes["first"] else ""

    def prepare(self, cell, t):
        run = load("fla.ops.retention.naive", "naive_retention")
        return ({name: t[name].transpose(1, 2).contiguous() for name in "qkv"},
                lambda x: run(x["q"], x["k"], x["v"]), lambda o: {"o": o.transpose(1, 2)})


class FlaSimpleGla(Implementation):
    """Our layouts as they are; the scale is handed over, 1/sqrt(K) where the cell says 0."""
    operator, packages, axes = "simple_gla", ("fla-core", "triton", "torch"), ("H", "K", "V", "scale")
    path, function = "", ""

    def missing(self):
        return load_torch() or why_not_importable(self.path, fla_module)

    def prepare(self, cell, t):
        run, scale = load(self.path, self.function), cell["axes"]["scale"] or None
        return (t, lambda x: run(x["q"], x["k"], x["v"], x["g"], scale=scale)[0],
                lambda o: {"o": o})


@implementation
class SimpleGlaChunk(FlaSimpleGla):
    name, is_triton = "fla", True
    path, function = "fla.ops.simple_gla", "chunk_simple_gla"

    def refuses(self, axes, dtype, device):
        return "K is at most 256" if axes["K"] > 256 else ""


@implementation
class SimpleGlaNaive(FlaSimpleGla):
    """fla's own recurrence step by step: the proof of the layout where there is no GPU."""
    name = "fla-naive"
    path, function = "fla.ops.simple_gla.naive", "naive_recurrent_simple_gla"


@implementation
class FlaConv1d(Implementation):
    """fla's Triton convolution, in our own layout."""
    operator, name, packages = "causal_conv1d", "fla", ("fla-core", "triton", "torch")
    axes, is_triton = ("D", "W", "silu", "bias"), True

    def missing(self):
        return load_torch() or why_not_importable("fla.modules.causal_conv1d")

    def prepare(self, cell, t):
        run = load("fla.modules.causal_conv1d", "causal_conv1d")
        activation = "silu" if cell["axes"]["silu"] else None

        def call(x):
            y = run(x["x"], x["w"], x.get("b"), activation=activation, backend="triton")
            return y[0] if isinstance(y, tuple) else y
        return t, call, lambda y: {"y": y}


# --- mamba-ssm ---


class Ssd(Implementation):
    """mamba_chunk_scan_combined takes our layouts as they are."""
    operator, packages = "ssd", ("mamba-ssm", "triton", "torch")
    axes = ("H", "P", "N", "G", "bias", "softplus", "skip")
    path = "mamba_ssm.ops.triton.ssd_combined"

    def missing(self):
        return load_torch() or why_not_importable(self.path, mamba_module)


@implementation
class SsdTriton(Ssd):
    name, is_triton = "mamba-ssm", True

    def prepare(self, cell, t):
        axes, run = cell["axes"], mamba_module(self.path).mamba_chunk_scan_combined
        softplus, chunk = bool(axes["softplus"]), axes["chunk"] or 256
        return (t, lambda x: run(x["x"], x["dt"], x["A"], x["B"], x["C"], chunk, D=x.get("D"),
                                 dt_bias=x.get("dt_bias"), dt_softplus=softplus),
                lambda y: {"y": y})


class SelectiveScan(Implementation):
    """mamba-ssm's scan is over (B, D, L), and (B, G, N, L) of B and C: transposed before."""
    operator, packages = "selective_scan", ("mamba-ssm", "torch")
    axes = ("D", "N", "G", "bias", "softplus", "skip", "gate")
    path = "mamba_ssm.ops.selective_scan_interface"
    has_exact_gate = False

    def prepare(self, cell, t):
        own = {n: t[n].movedim(1, -1).contiguous() for n in ("u", "delta", "B", "C", "z") if n in t}
        run, softplus = self.function(), bool(cell["axes"]["softplus"])
        if self.has_exact_gate and "z" in own:
            own["z"] = own["z"].float()
        return ({**t, **own},
                lambda x: run(x["u"], x["delta"], x["A"], x["B"], x["C"], x.get("D"), x.get("z"),
                              x.get("delta_bias"), softplus),
                lambda y: {"y": y.movedim(-1, 1)})


@implementation
class SelectiveScanCuda(SelectiveScan):
    name = "mamba-ssm"

    def missing(self):
        return load_torch() or why_not_importable("selective_scan_cuda") or \
            why_not_importable(self.path, mamba_module)

    def refuses(self, axes, dtype, device):
        return "its kernels need a GPU" if device == "cpu" else ""

    def function(self):
        return mamba_module(self.path).selective_scan_fn


def mamba_references(path=SelectiveScan.path):
    """selective_scan_interface, for its reference in plain PyTorch: it imports the compiled extension
    for its other functions, so where that is absent an empty one stands in for the moment."""
    extension = "selective_scan_cuda"
    is_absent = why_not_importable(extension)
    if is_absent:
        sys.modules[extension] = types.ModuleType(extension)
    try:
        return mamba_module(path)
    finally:
        if is_absent:
            del sys.modules[extension]


class MambaReference(Implementation):
    """What mamba-ssm defines by plain PyTorch: the proof of the layout where there is no GPU."""
    name = "mamba-ssm-ref"

    def missing(self):
        return load_torch() or why_not_importable(SelectiveScan.path, mamba_references)


@implementation
class SelectiveScanReference(MambaReference, SelectiveScan):
    """The reference rounds silu(z) to the type of z, which our operator does not: z goes in as f32."""
    has_exact_gate = True

    def function(self):
        return mamba_references().selective_scan_ref


@implementation
class SsdReference(MambaReference, Ssd):
    """SSD as the selective scan of every channel of a head, as mamba-ssm's own tests have it."""

    def prepare(self, cell, t):
        axes, run = cell["axes"], mamba_references().selective_scan_ref
        p, n, length = axes["P"], axes["N"], t["x"].shape[1]
        channels = (t["x"].shape[0], axes["H"] * p, length)
        own = {"x": t["x"].permute(0, 2, 3, 1).reshape(channels),
               "dt": t["dt"].transpose(1, 2).repeat_interleave(p, 1),
               "A": t["A"].repeat_interleave(p).unsqueeze(-1).expand(-1, n),
               "B": t["B"].permute(0, 2, 3, 1), "C": t["C"].permute(0, 2, 3, 1),
               **{name: t[name].repeat_interleave(p) for name in ("D", "dt_bias") if name in t}}
        return (own, lambda x: run(x["x"], x["dt"], x["A"], x["B"], x["C"], x.get("D"), None,
                                   x.get("dt_bias"), bool(axes["softplus"])),
                lambda y: {"y": y.reshape(-1, axes["H"], p, length).permute(0, 3, 1, 2)})


@implementation
class GatedRmsNorm(Implementation):
    """mamba-ssm's gated norm: our gate "post" is its norm_before_gate."""
    operator, name, packages = "rmsnorm", "mamba-ssm", ("mamba-ssm", "triton", "torch")
    axes, is_triton = ("D", "groups", "weight", "gate", "eps"), True
    path = "mamba_ssm.ops.triton.layernorm_gated"

    def missing(self):
        return load_torch() or why_not_importable(self.path, mamba_module)

    def refuses(self, axes, dtype, device):
        return "" if axes["weight"] else "no norm without a weight"

    def prepare(self, cell, t):
        axes, run = cell["axes"], mamba_module(self.path).rmsnorm_fn
        group = axes["D"] // axes["groups"]
        return (t, lambda x: run(x["x"], x["w"], None, z=x.get("z"), eps=axes["eps"],
                                 group_size=group, norm_before_gate=axes["gate"] == "post"),
                lambda y: {"y": y})


# --- causal-conv1d, flash-attn ---


@implementation
class CausalConv1d(Implementation):
    """causal_conv1d_fn takes (B, D, L) with the channels last in memory: a view of our x."""
    operator, name, packages = "causal_conv1d", "causal-conv1d", ("causal-conv1d", "torch")
    axes = ("D", "W", "silu", "bias")

    def missing(self):
        return load_torch() or why_not_importable("causal_conv1d_cuda") or \
            why_not_importable("causal_conv1d")

    def refuses(self, axes, dtype, device):
        if device == "cpu":
            return "its kernels need a GPU"
        return "channels must be a multiple of 8" if axes["D"] % 8 else ""

    def prepare(self, cell, t):
        run = load("causal_conv1d", "causal_conv1d_fn")
        activation = "silu" if cell["axes"]["silu"] else None
        return ({**t, "x": t["x"].transpose(1, 2)},
                lambda x: run(x["x"], x["w"], x.get("b"), activation=activation),
                lambda y: {"y": y.transpose(1, 2)})


class FlashAttention(Implementation):
    """flash_attn_func in our own layout; its window counts the keys before the query's own."""
    operator = "attention"
    axes = ("Lk", "H", "Hkv", "D", "causal", "window")
    module = ""

    def missing(self):
        return load_torch() or why_not_importable(self.module)

    def refuses(self, axes, dtype, device):
        if device == "cpu" or dtype == "f32":
            return "its kernels need a GPU and a 16-bit type"
        return "head dims must be multiples of 8" if axes["D"] % 8 else ""

    def prepare(self, cell, t):
        axes, run = cell["axes"], load(self.module, "flash_attn_func")
        causal = bool(axes["causal"])
        window = (axes["window"] - 1, 0) if axes["window"] else (-1, -1)

        def call(x):
            o = run(x["q"], x["k"], x["v"], causal=causal, window_size=window)
            return o[0] if isinstance(o, tuple) else o
        return t, call, lambda o: {"o": o}


@implementation
class FlashAttention2(FlashAttention):
    name, module, packages = "flash-attn", "flash_attn", ("flash-attn", "torch")


@implementation
class FlashAttention3(FlashAttention):
    name, module, packages = "flash-attn-3", "flash_attn_interface", ("flash-attn-3", "torch")
