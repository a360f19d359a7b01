#!/usr/bin/env python3
"""seqmark verify on cases that no official run made: other shapes and options than those of tests/golden/data,
computed by the formulas of formulas.py. CPU backend.

usage: test_forms.py SOURCE_DIR BINARY_DIR
"""
import math
import pathlib
import struct
import sys
import tempfile
import unittest

import formulas as by
from cases import assert_unsupported, read_case, rows, verdicts_of, write_case
from formulas import draw, f32, flat, pairs, shape_of

STEP = 1e-5  # of the differences that stand for gradients


def stored(x):
    values = flat(x)
    is_index = all(isinstance(n, int) for n in values)
    return shape_of(x), struct.pack(f"<{len(values)}{'i' if is_index else 'f'}", *values), "I32" if is_index else "F32"


def gradient(given, name, loss):
    """Of the loss by each element of a given tensor."""
    def of(x):
        for i, value in enumerate(x):
            if isinstance(value, list):
                yield list(of(value))
                continue
            sides = []
            for side in (value + STEP, value - STEP):
                x[i] = side
                sides.append(loss(given))
            x[i] = value
            yield (sides[0] - sides[1]) / (2 * STEP)
    return list(of(given[name]))


def tensors_of(given, function, gradients=()):
    """All tensors of a case: inputs and parameters as given, what the function makes of them, and gradients."""
    out = function(given)
    tensors = {**given, **{f"output.{name}": x for name, x in out.items()}}
    if gradients:
        weights = {name: draw(f"weights of {name}", *shape_of(x)) for name, x in out.items()}

        def loss(given):
            return sum(by.dot(flat(weights[name]), flat(x)) for name, x in function(given).items())
        tensors.update({f"cotangent.{name}": w for name, w in weights.items()})
        tensors.update({f"grad.{name.split('.', 1)[1]}": gradient(given, name, loss) for name in gradients})
    return {name: stored(x) for name, x in tensors.items()}


def case_of(subject, options):
    return {"kind": "operator", "subject": subject, "options": options}


class Forms(unittest.TestCase):
    """Cases of one test are verified together."""

    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.tree = pathlib.Path(self.holder.name)

    def tearDown(self):
        self.holder.cleanup()

    def add(self, name, subject, options, given, function, gradients=()):
        write_case(self.tree / name, case_of(subject, options), tensors_of(given, function, gradients))

    def check(self, dtypes=("f32", "bf16", "f16")):
        self.maxDiff = None
        for dtype in dtypes:
            _, found = rows(self.tree, "--dtype", dtype)
            self.assertEqual(len(found), len(list(self.tree.iterdir())))
            self.assertEqual([(r["case"], r["reason"]) for r in found if r["verdict"] != "ok"], [], dtype)


class Attention(Forms):
    def attend(self, name, lengths, heads, width, gradients=False, **options):
        (lq, lk), (hq, hkv) = lengths, heads
        given = {"input.q": draw(name + "q", 2, lq, hq, width), "input.k": draw(name + "k", 2, lk, hkv, width),
                 "input.v": draw(name + "v", 2, lk, hkv, width)}
        known = {"causal": "causal", "window": "window_size", "alibi": "alibi", "rotary": "rotary_dim",
                 "interleaved": "rotary_interleaved", "base": "rotary_base", "offset": "q_position_offset",
                 "scale": "softmax_scale", "masked": "num_masked_heads"}
        told = {"batch": 2, "seqlen_q": lq, "seqlen_k": lk, "heads_q": hq, "heads_kv": hkv, "head_dim": width,
                **{known[key]: value for key, value in options.items()}}
        self.add(name, "attention", told, given,
                 lambda g: {"o": by.attention(g["input.q"], g["input.k"], g["input.v"], **options)},
                 list(given) if gradients else ())

    def test_options(self):
        self.attend("plain", (9, 9), (3, 3), 5)
        self.attend("one", (1, 1), (2, 1), 8, causal=True)
        self.attend("window", (11, 14), (4, 2), 8, causal=True, window=(3, 0))
        self.attend("window_one_key", (9, 9), (2, 2), 4, causal=True, window=(0, 0), gradients=True)
        self.attend("window_beyond", (5, 7), (2, 2), 4, window=(100, 100))
        self.attend("window_right", (8, 8), (2, 2), 4, window=(-1, 2))
        self.attend("alibi_12_heads", (5, 9), (12, 3), 4, causal=True, alibi=True)
        self.attend("alibi_both_sides", (6, 6), (4, 4), 4, alibi=True)
        self.attend("rope", (6, 10), (4, 2), 8, causal=True, rotary=6, offset=4, base=500.0)
        self.attend("rope_moved", (6, 6), (2, 2), 8, causal=True, rotary=4, offset=9, interleaved=True)
        self.attend("scale", (7, 7), (2, 1), 6, causal=True, scale=0.25, gradients=True)
        self.attend("hard", (12, 12), (5, 5), 4, causal=True, masked=3)
        self.attend("no_keys", (9, 4), (2, 2), 4, causal=True)
        self.check()

    def test_rotary_beside_a_bias(self):
        self.attend("alibi", (5, 7), (4, 2), 8, causal=True, rotary=8, alibi=True, offset=2, gradients=True)
        self.attend("partial", (7, 7), (3, 3), 8, causal=True, rotary=4, interleaved=True, alibi=True, base=100.0)
        self.attend("masked", (9, 9), (4, 4), 6, causal=True, rotary=6, masked=2)
        self.check()

    def test_refusals(self):
        given = {f"input.{x}": draw(x, 1, 3, 2, 4) for x in "qkv"}
        told = {"batch": 1, "seqlen_q": 3, "seqlen_k": 3, "heads_q": 2, "heads_kv": 2, "head_dim": 4}
        tensors = tensors_of(given, lambda g: {"o": by.attention(*g.values())})
        self.assertEqual(verdicts_of(case_of("attention", told), tensors), [("ok", "")])
        for options, text in (({"softcap": 30.0}, "no softcap"), ({"softmax_scale": "sqrt"}, 'no "sqrt"'),
                              ({"alibi": True, "num_masked_heads": 1}, "no ALiBi beside masked heads"),
                              ({"dropout_p": 0.1}, "no dropout"), ({"rotary_dim": 3}, "odd"),
                              ({"causal": True, "window_size": [0, 0], "num_masked_heads": 2}, "beyond its window")):
            assert_unsupported(self, case_of("attention", {**told, **options}), tensors, text)


class Norms(Forms):
    def normalise(self, name, subject, dims, gradients=False, **options):
        """Options beside those of the case: weight, has_z, residual, bias."""
        width = dims[-1]
        given = {"input.x": draw(name + "x", *dims)}
        if options.get("weight", True):
            given["input.weight"] = draw(name + "w", width)
        for key, tensor, of in (("has_z", "z", dims), ("residual", "residual", dims), ("bias", "bias", [width])):
            if options.get(key):
                given[f"input.{tensor}"] = draw(name + tensor, *of)
        eps, group = options.get("eps", 1e-5), options.get("group_size") or 0

        def row(g, x, z):
            weight, bias = g.get("input.weight"), g.get("input.bias")
            if z is not None:
                return by.gated_norm(x, z, eps, weight, group, options.get("norm_before_gate", True))
            return by.norm(x, eps, weight, bias, subject == "layer_norm", group)

        def rows_of(g, x, z):
            if isinstance(x[0], list):
                return [rows_of(g, a, z[i] if z else None) for i, a in enumerate(x)]
            return row(g, x, z)

        def add(x, r):
            return [add(a, b) for a, b in zip(x, r)] if isinstance(x, list) else x + r

        def run(g):
            x = add(g["input.x"], g["input.residual"]) if "input.residual" in g else g["input.x"]
            out = {"y": rows_of(g, x, g.get("input.z"))}
            return {**out, "residual_out": x} if "input.residual" in g else out
        self.add(name, subject, {"shape": list(dims), **options}, given, run, list(given) if gradients else ())

    def test_ranks(self):
        for rank, dims in enumerate([[6], [3, 6], [2, 3, 6], [2, 3, 2, 6], [2, 1, 3, 2, 5]], 1):
            self.normalise(f"rms_{rank}", "rms_norm", dims, eps=1e-3, gradients=rank in (1, 4))
            self.normalise(f"layer_{rank}", "layer_norm", dims, bias=True, residual=True)
            self.normalise(f"gated_{rank}", "gated_rms_norm", dims, has_z=True, norm_before_gate=rank % 2 == 0)
        self.check()

    def test_options(self):
        self.normalise("groups", "gated_rms_norm", [2, 3, 12], has_z=True, group_size=4, norm_before_gate=False)
        self.normalise("groups_first", "gated_rms_norm", [2, 12], has_z=True, group_size=3, norm_before_gate=True)
        self.normalise("groups_of_one", "rms_norm", [5, 4], group_size=1, eps=0.5)
        self.normalise("no_weight", "rms_norm", [3, 2, 7], weight=False)
        self.normalise("one", "rms_norm", [1, 1, 1], eps=0.1, bias=True)
        self.check()

    def test_heads(self):
        for name, dims in (("one", [1, 1, 1, 3]), ("many", [2, 3, 5, 6])):
            b, length, heads, width = dims
            self.add(name, "retnet_head_norm", {"batch": b, "seqlen": length, "heads": heads, "head_dim": width,
                                                "eps": 1e-2}, {"input.x": draw(name, *dims)},
                     lambda g: {"y": [[[by.norm(r, 1e-2) for r in t] for t in s] for s in g["input.x"]]})
        self.check()

    def test_refusals(self):
        tensors = tensors_of({"input.x": draw("x", 2, 6), "input.weight": draw("w", 6)},
                             lambda g: {"y": [by.norm(r, 1e-5, g["input.weight"]) for r in g["input.x"]]})
        for options, text in (({"shape": [2, 6], "group_size": 4}, "groups of unlike sizes"),
                              ({"shape": [6, 2]}, "its shape is not that of the options"), ({}, "its shape")):
            assert_unsupported(self, case_of("rms_norm", options), tensors, text)
        tensors["output.y"] = ([6, 2], *tensors["output.y"][1:])
        assert_unsupported(self, case_of("rms_norm", {"shape": [2, 6]}), tensors, "output.y: its shape")


class Convolutions(Forms):
    def filter(self, name, length, taps=None, skip=True, reverse=False, gelu=False, gradients=False):
        given = {"input.u": draw(name + "u", 2, 3, length), "input.k": draw(name + "k", 3, taps or length)}
        if skip:
            given["input.D"] = draw(name + "D", 3)
        if reverse:
            given["input.k_rev"] = draw(name + "r", 3, length)

        def row(g, u, d):
            y = by.convolve(u, g["input.k"][d])
            if reverse:
                back = by.convolve(u[::-1], g["input.k_rev"][d])[::-1]
                y = [a + b for a, b in zip(y, back)]
            y = [a + (g["input.D"][d] * x if skip else 0) for a, x in zip(y, u)]
            return [by.gelu(a) for a in y] if gelu else y
        self.add(name, "fftconv", {"batch": 2, "channels": 3, "seqlen": length, "gelu": gelu, "k_rev": reverse}, given,
                 lambda g: {"y": [[row(g, u, d) for d, u in enumerate(s)] for s in g["input.u"]]},
                 list(given) if gradients else ())

    def test_fftconv(self):
        self.filter("plain", 17)
        self.filter("no_skip", 9, skip=False, gradients=True)
        self.filter("no_skip_gelu", 8, skip=False, gelu=True)
        self.filter("both_sides", 9, skip=False, reverse=True)
        self.filter("short", 12, taps=5, gelu=True)
        self.filter("one", 1, skip=False)
        self.check()

    def test_a_filter_longer_than_the_sequence(self):
        given = {"input.u": draw("u", 1, 2, 4), "input.k": draw("k", 2, 6)}
        tensors = tensors_of(given, lambda g: {"y": [[by.convolve(u, k) for u, k in zip(s, g["input.k"])]
                                                     for s in g["input.u"]]})
        case = case_of("fftconv", {"batch": 1, "channels": 2, "seqlen": 4})
        assert_unsupported(self, case, tensors, "no filter of 6 taps")

    def test_causal_conv1d(self):
        for name, width, length, act, bias, first in (
                ("w2", 2, 1, "silu", False, True), ("w3", 3, 7, "", True, False), ("w4", 4, 2, "swish", True, True),
                ("w4_long", 4, 33, "silu", False, False)):
            given = {"input.x": draw(name + "x", 2, 3, length), "input.weight": draw(name + "w", 3, width)}
            if bias:
                given["input.bias"] = draw(name + "b", 3)
            if first:
                given["input.initial_states"] = draw(name + "i", 2, 3, width - 1)

            def run(g, width=width, act=act):
                y, last = [], []
                for s, x in enumerate(g["input.x"]):
                    before = g["input.initial_states"][s] if "input.initial_states" in g else [[0.0] * (width - 1)] * 3
                    y.append([by.short_conv(row, g["input.weight"][d], g.get("input.bias", [0.0] * 3)[d], before[d],
                                            act) for d, row in enumerate(x)])
                    last.append([[*before[d], *row][-(width - 1):] for d, row in enumerate(x)])
                return {"y": y, "final_states": last}
            self.add(name, "causal_conv1d", {"batch": 2, "dim": 3, "seqlen": length, "width": width,
                                             "activation": act or None}, given, run)
        self.check()


class Scans(Forms):
    def test_selective_scan(self):
        for name, groups, length, dim, const_b, const_c, parts in (
                ("one", 0, 1, 3, False, False, "D z delta_bias"), ("groups", 3, 9, 6, False, False, "z"),
                ("mixed", 0, 8, 4, True, False, "D"), ("mixed_c", 2, 8, 4, False, True, ""),
                ("no_softplus", 1, 5, 2, False, False, "D")):
            softplus, state = name != "no_softplus", 3
            each = [2, groups, state, length] if groups else [2, state, length]
            given = {"input.u": draw(name + "u", 2, dim, length),
                     "input.delta": draw(name + "d", 2, dim, length, low=0.1, high=0.9),
                     "input.A": draw(name + "A", dim, state, low=-2, high=-0.2),
                     "input.B": draw(name + "B", *([dim, state] if const_b else each)),
                     "input.C": draw(name + "C", *([dim, state] if const_c else each))}
            for part in parts.split():
                given[f"input.{part}"] = draw(name + part, *([2, dim, length] if part == "z" else [dim]))

            def weights(w, constant, s, d, t, groups=groups, dim=dim):
                if constant:
                    return w[d]
                of = w[s][d // (dim // groups)] if groups else w[s]
                return [row[t] for row in of]

            def run(g, const_b=const_b, const_c=const_c, softplus=softplus, length=length, dim=dim):
                y, last = [], []
                for s in range(2):
                    y.append([])
                    last.append([])
                    for d in range(dim):
                        delta = [x + g.get("input.delta_bias", [0] * dim)[d] for x in g["input.delta"][s][d]]
                        delta = [by.softplus(x) for x in delta] if softplus else delta
                        out, state = by.selective_channel(
                            g["input.u"][s][d], delta, g["input.A"][d],
                            [weights(g["input.B"], const_b, s, d, t) for t in range(length)],
                            [weights(g["input.C"], const_c, s, d, t) for t in range(length)],
                            g.get("input.D", [0] * dim)[d], [0.0] * 3)
                        if "input.z" in g:
                            out = [o * by.silu(z) for o, z in zip(out, g["input.z"][s][d])]
                        y[s].append(out)
                        last[s].append(state)
                return {"y": y, "last_state": last}
            self.add(name, "selective_scan",
                     {"batch": 2, "dim": dim, "dstate": state, "seqlen": length, "groups": groups,
                      "delta_softplus": softplus, "variable_B": not const_b, "variable_C": not const_c}, given, run,
                     list(given) if name == "groups" else ())
        self.check()

    def test_gated(self):
        for name, subject, length, scale, initial in (
                ("simple", "simple_gla", 7, None, False), ("simple_scaled", "simple_gla", 5, 0.3, True),
                ("one", "simple_gla", 1, None, False), ("by_channel", "gla", 6, None, False),
                ("by_channel_one", "gla", 1, None, True)):
            key, value, gate = 4, 3, "gk" if subject == "gla" else "g"
            given = {"input.q": draw(name + "q", 2, length, 2, key), "input.k": draw(name + "k", 2, length, 2, key),
                     "input.v": draw(name + "v", 2, length, 2, value),
                     f"input.{gate}": draw(name + "g", 2, length, 2, *([key] if subject == "gla" else []), low=-2,
                                           high=-0.05)}
            if initial:
                given["input.initial_state"] = draw(name + "s", 2, 2, key, value)

            def run(g, length=length, scale=scale, gate=gate, key=key, value=value):
                o = [[[None] * 2 for _ in range(length)] for _ in range(2)]
                last = [[None] * 2 for _ in range(2)]
                for s in range(2):
                    for h in range(2):
                        rows_of = {x: [g[f"input.{x}"][s][t][h] for t in range(length)] for x in "qkv"}
                        logs = [g[f"input.{gate}"][s][t][h] for t in range(length)]
                        decay = [[math.exp(x) for x in (row if isinstance(row, list) else [row] * key)] for row in logs]
                        state = g["input.initial_state"][s][h] if "input.initial_state" in g else [[0.0] * value] * key
                        out, last[s][h] = by.gated_scan(*rows_of.values(), decay, scale or key ** -0.5, state)
                        for t in range(length):
                            o[s][t][h] = out[t]
                return {"o": o, "final_state": last}
            self.add(name, subject, {"batch": 2, "seqlen": length, "heads": 2, "key_dim": key, "value_dim": value,
                                     "scale": scale}, given, run)
        self.check()

    def test_retention(self):
        for name, length, heads, initial in (("one", 1, 1, True), ("some", 9, 5, False), ("from_a_state", 6, 2, True)):
            key, value = 4, 6
            given = {f"input.{x}": draw(name + x, 2, heads, length, value if x == "v" else key) for x in "qkv"}
            if initial:
                given["input.initial_state"] = draw(name + "s", 2, heads, key, value)

            def run(g, length=length, heads=heads, key=key, value=value):
                o, last = [], []
                for s in range(2):
                    found = [by.gated_scan(*(g[f"input.{x}"][s][h] for x in "qkv"),
                                           [[1 - 2 ** (-5 - h)] * key] * length, key ** -0.5,
                                           g["input.initial_state"][s][h] if "input.initial_state" in g
                                           else [[0.0] * value] * key) for h in range(heads)]
                    o.append([out for out, _ in found])
                    last.append([state for _, state in found])
                return {"o": o, "final_state": last}
            self.add(name, "retention_core", {"batch": 2, "heads": heads, "seqlen": length, "key_dim": key,
                                              "value_dim": value}, given, run)
        self.check()

    def test_the_inner_part_of_mamba2(self):
        for name, length, heads, groups, options in (
                ("one", 1, 2, 1, {"norm_before_gate": False}), ("post", 5, 4, 2, {"norm_before_gate": True}),
                ("no_norm", 6, 3, 3, {}), ("limit", 7, 2, 1, {"dt_limit": [0.3, 0.6], "norm_before_gate": False}),
                ("eps", 4, 2, 2, {"rmsnorm_eps": 0.01, "norm_before_gate": False}), ("official_default", 3, 2, 1, {})):
            width, state, inner = 4, 3, heads * 4
            convolved = inner + 2 * groups * state
            given = {"input.zxbcdt": draw(name, 2, length, inner + convolved + heads),
                     "input.conv1d_weight": draw(name + "w", convolved, 4), "input.conv1d_bias": draw("b", convolved),
                     "input.dt_bias": draw(name + "d", heads), "input.A": draw("A", heads, low=-3, high=-0.5),
                     "input.D": draw(name + "D", heads), "input.outproj_weight": draw(name + "o", 5, inner)}
            if name != "no_norm":
                given["input.rmsnorm_weight"] = draw(name + "r", inner)

            def run(g, heads=heads, groups=groups, inner=inner, convolved=convolved, options=options):
                low, high = options.get("dt_limit", (0, math.inf))
                out = []
                for tokens in g["input.zxbcdt"]:
                    z = [row[:inner] for row in tokens]
                    xbc = list(zip(*(by.short_conv([row[inner + c] for row in tokens], g["input.conv1d_weight"][c],
                                                   g["input.conv1d_bias"][c], act="silu") for c in range(convolved))))
                    y = [[] for _ in tokens]
                    for h in range(heads):
                        dt = [min(max(by.softplus(row[inner + convolved + h] + g["input.dt_bias"][h]), low), high)
                              for row in tokens]
                        b, c = ([row[at + h // (heads // groups) * state:][:state] for row in xbc]
                                for at in (inner, inner + groups * state))
                        for p in range(width):
                            found, _ = by.selective_channel([row[h * width + p] for row in xbc], dt,
                                                            [g["input.A"][h]] * state, b, c, g["input.D"][h],
                                                            [0.0] * state)
                            for t, value in enumerate(found):
                                y[t].append(value)
                    if "input.rmsnorm_weight" in g:
                        y = [by.gated_norm(r, zr, options.get("rmsnorm_eps", 1e-5), g["input.rmsnorm_weight"],
                                           norm_first=options.get("norm_before_gate", True))
                             for r, zr in zip(y, z)]
                    else:
                        y = [[a * by.silu(gate) for a, gate in zip(r, zr)] for r, zr in zip(y, z)]
                    out.append([by.linear(r, g["input.outproj_weight"]) for r in y])
                return {"y": out}
            self.add(name, "mamba2_inner", {"batch": 2, "seqlen": length, "heads": heads, "headdim": width,
                                            "groups": groups, "dstate": state, "conv_width": 4, **options}, given, run)
        self.check()


class StateSpaces(Forms):
    def space(self, name, channels=3, modes=2, copies=None, filters=1, untied=False, rank=0):
        copies = copies or channels
        given = {"param.kernel.inv_dt": draw(name + "dt", channels, modes if untied else 1, low=-3, high=-1),
                 "param.kernel.A_real": draw(name + "ar", copies, modes, low=-1.5, high=0.5),
                 "param.kernel.A_imag": draw(name + "ai", copies, modes, low=-4, high=4),
                 "param.kernel.B": draw(name + "B", 1, copies, modes, 2),
                 "param.kernel.C": draw(name + "C", filters, channels, modes, 2),
                 "param.D": draw(name + "D", filters, channels)}
        if rank:
            given["param.kernel.P"] = draw(name + "P", rank, copies, modes, 2)
        return given

    @staticmethod
    def of_channel(g, d):
        """dt, a, b and the rows of p of a channel, and c of each of its filters."""
        s = d % len(g["param.kernel.A_real"])
        a = [complex(-math.exp(r), -i) for r, i in zip(g["param.kernel.A_real"][s], g["param.kernel.A_imag"][s])]
        dt = [math.exp(x) for x in g["param.kernel.inv_dt"][d]]
        return (dt if len(dt) == len(a) else dt * len(a), a, [complex(*x) for x in g["param.kernel.B"][0][s]],
                [[complex(*x) for x in row[s]] for row in g.get("param.kernel.P", [])],
                [[complex(*x) for x in row[d]] for row in g["param.kernel.C"]])

    def outputs(self, rule, act, most=None):
        """The kernel, the convolution, the recurrence and its last state."""
        of_channel = self.of_channel

        def run(g):
            u, channels, filters = g["input.u"], len(g["param.D"][0]), len(g["param.D"])
            length, is_dense = len(u[0][0]), "param.kernel.P" in g
            taps = min(length, most or length)
            kernel = [[None] * channels for _ in range(filters)]
            y, steps = ([[None] * (filters * channels) for _ in u] for _ in "ys")
            last = [[None] * channels for _ in u]
            for d in range(channels):
                dt, a, b, p, c = of_channel(g, d)
                space = by.low_rank_space(dt[0], a, p, b) if is_dense else None
                for f in range(filters):
                    whole = by.low_rank_run(space, c[f], [1.0] + [0.0] * (length - 1))[0] if is_dense else \
                        by.diagonal_taps(rule, dt, a, b, c[f], length)
                    kernel[f][d] = whole[:taps]
                    for s, seq in enumerate(u):
                        through = [g["param.D"][f][d] * x for x in seq[d]]
                        for out, by_taps in ((y, kernel[f][d]), (steps, whole)):
                            out[s][f * channels + d] = [by.ACTIVATIONS[act](m + n) for m, n in
                                                        zip(by.convolve(seq[d], by_taps), through)]
                for s, seq in enumerate(u):
                    last[s][d] = by.low_rank_run(space, c[0], seq[d])[1] if is_dense else \
                        by.diagonal_state(rule, dt, a, b, seq[d])
            return {"kernel": kernel, "y": y, "y_step": steps, "final_state": pairs(last)}
        return run

    def add_diagonal(self, name, length=9, rule="zoh", act="", l_max=None, gradients=(), **space):
        given = {**self.space(name, **space), "input.u": draw(name + "u", 2, space.get("channels", 3), length)}
        whole = self.outputs(rule, act, l_max)

        def run(g):
            found = whole(g)
            return {k: found[k] for k in ("kernel", "y")} if gradients else found
        self.add(name, "s4d", {"disc": rule, "activation": act or None, "channels": space.get("filters", 1),
                               "dt_tie": not space.get("untied", False), "l_max": l_max}, given, run, gradients)

    def test_diagonal(self):
        self.add_diagonal("one", length=1)
        self.add_diagonal("shared", copies=1, rule="bilinear")
        self.add_diagonal("two_copies", channels=4, copies=2, act="gelu")
        self.add_diagonal("relu", act="relu")
        self.add_diagonal("cut", length=9, l_max=5)
        self.add_diagonal("longest", length=6, l_max=20)
        self.check()

    def test_a_step_for_each_state(self):
        self.add_diagonal("zoh", untied=True, modes=3)
        self.add_diagonal("bilinear", untied=True, rule="bilinear", channels=4, copies=2, act="gelu")
        self.add_diagonal("filters", untied=True, filters=2)
        self.add_diagonal("gradients", length=5, untied=True, channels=2, copies=1,
                          gradients=[*self.space("gradients", channels=2, copies=1), "input.u"])
        self.check()

    def test_several_filters_of_a_channel(self):
        self.add_diagonal("diagonal", filters=2, act="gelu")
        self.add_diagonal("gradients", length=5, filters=3, channels=2,
                          gradients=[*self.space("gradients", channels=2), "input.u"])
        self.check()

    def add_dense(self, name, length=8, act="", l_max=None, rank=1, **space):
        given = {**self.space(name, rank=rank, **space),
                 "input.u": draw(name + "u", 2, space.get("channels", 3), length)}
        self.add(name, "s4_dplr", {"activation": act or None, "channels": space.get("filters", 1), "l_max": l_max},
                 given, self.outputs("bilinear", act, l_max))

    def test_low_rank(self):
        self.add_dense("one", length=1)
        self.add_dense("shared", copies=1, act="gelu")
        self.add_dense("rank_2", rank=2, channels=2)
        self.add_dense("filters", filters=2, channels=2)
        self.add_dense("longest", length=5, l_max=8, copies=1)
        self.add_dense("cut", length=9, l_max=4, copies=1)
        self.check()

    def test_what_it_starts_from(self):
        """s4_init of a size that no official run has; vectors of LegS have a free phase, V or P tells it."""
        modes = 6
        tensors = {}
        for name, poles in (("lin", [complex(-0.5, -math.pi * n) for n in range(modes)]),
                            ("inv", [complex(-0.5, -12 / math.pi * (12 / (2 * n + 1) - 1)) for n in range(modes)]),
                            ("real", [complex(-(n + 1), 0) for n in range(modes)])):
            tensors[f"output.diag-{name}.A"] = stored(pairs([poles]))
            tensors[f"output.diag-{name}.B"] = stored(pairs([[1 + 0j] * modes]))
        self.assertEqual(verdicts_of(case_of("s4_init", {"N": 12}), tensors), [("ok", "")])
        self.assertEqual(verdicts_of(case_of("s4_init", {"N": 14}), tensors)[0][0], "unsupported")
        for size in (0, 11, 258):
            assert_unsupported(self, case_of("s4_init", {"N": size}), tensors, f"no start of {size} states")

        def turned(name, factor):
            shape, values, dtype = official[name]
            numbers = struct.unpack(f"<{len(values) // 4}f", values)
            out = flat([pairs(complex(*numbers[i:i + 2]) * factor(i // 2 % shape[-2]))
                        for i in range(0, len(numbers), 2)])
            return shape, struct.pack(f"<{len(out)}f", *out), dtype

        def turn(k):
            return complex(math.cos(1 + k), math.sin(1 + k))
        case, official = read_case("s4_init_N16")
        kept = {n: official[n] for n in ("output.legs.A_dense", "output.legs.w")}
        kept["output.legs.V"] = turned("output.legs.V", turn)
        kept["output.legs.P"] = turned("output.legs.P", lambda k: turn(k).conjugate())
        self.assertEqual(verdicts_of(case, kept), [("ok", "")])
        del kept["output.legs.V"]
        self.assertEqual(verdicts_of(case, kept), [("ok", "")])
        kept["output.legs.P"] = turned("output.legs.P", lambda k: 1.01 * turn(k))
        self.assertEqual(verdicts_of(case, kept)[0][0], "mismatch")

    def test_refusals(self):
        given = {**self.space("x"), "input.u": draw("u", 2, 3, 4)}
        tensors = tensors_of(given, self.outputs("zoh", ""))
        for options, text in (({"disc": "dss"}, 'disc: no "dss"'), ({"bidirectional": True}, "no bidirectional"),
                              ({"activation": "elu"}, "no activation elu"), ({"dt_transform": "softplus"}, "softplus")):
            assert_unsupported(self, case_of("s4d", options), tensors, text)
        given = {**self.space("x", untied=True, rank=1), "input.u": draw("u", 2, 3, 4)}
        tensors = tensors_of(given, lambda g: {"y": g["input.u"]})
        self.assertIn("a step for each state", verdicts_of(case_of("s4_dplr", {}), tensors)[0][1])


class Gated(Forms):
    def hyena(self, name, order=2, inner=1, length=7, width=3, most=9, features=3, shift=0.0, gradients=False):
        """inner: layers of the filter's network between its first and its last."""
        hidden, last = 4, order - 1
        f = "param.filter_fn."
        given = {"input.u": draw(name, 2, length, width), f + "pos_emb.z": draw(name + "z", 1, most, features),
                 f + "pos_emb.t": [[[f32(i / (most - 1))] for i in range(most)]],
                 f + "modulation.deltas": draw(name + "d", 1, 1, width * last, low=-9, high=9),
                 f + "bias": draw(name + "fb", width * last),
                 f + "implicit_filter.1.freq": draw("f", 1, hidden, high=3),
                 "param.in_proj.weight": draw(name + "i", (order + 1) * width, width),
                 "param.in_proj.bias": draw(name + "ib", (order + 1) * width),
                 "param.short_filter.weight": draw(name + "s", (order + 1) * width, 1, 3),
                 "param.short_filter.bias": draw(name + "sb", (order + 1) * width),
                 "param.out_proj.weight": draw(name + "o", width, width),
                 "param.out_proj.bias": draw(name + "ob", width),
                 f"{f}implicit_filter.{2 * inner + 2}.weight": draw(name + "last", width * last, hidden)}
        for i in range(inner + 1):
            given[f"{f}implicit_filter.{2 * i}.weight"] = draw(f"{name}{i}", hidden, hidden if i else features)
            given[f"{f}implicit_filter.{2 * i}.bias"] = draw(f"{name}{i}b", hidden)

        def taps(g):
            """By channel of the filter, (order - 1) of them to a channel."""
            found = [[] for _ in range(width * last)]
            for t in range(length):
                x = g[f + "pos_emb.z"][0][t]
                for i in range(inner + 1):
                    x = by.linear(x, g[f"{f}implicit_filter.{2 * i}.weight"], g[f"{f}implicit_filter.{2 * i}.bias"])
                    x = [math.sin(w * a) for w, a in zip(g[f + "implicit_filter.1.freq"][0], x)]
                x = by.linear(x, g[f"{f}implicit_filter.{2 * inner + 2}.weight"])
                for c, h in enumerate(x):
                    window = math.exp(-g[f + "pos_emb.t"][0][t][0] * abs(g[f + "modulation.deltas"][0][0][c])) + shift
                    found[c].append(h * window)
            return found

        def run(g):
            h, y = taps(g), []
            for tokens in g["input.u"]:
                wide = list(zip(*(by.linear(x, g["param.in_proj.weight"], g["param.in_proj.bias"]) for x in tokens)))
                wide = [by.short_conv(row, g["param.short_filter.weight"][c][0], g["param.short_filter.bias"][c])
                        for c, row in enumerate(wide)]
                rows_of = []
                for d in range(width):
                    v = wide[order * width + d]
                    for o in range(last):
                        v = [a * b for a, b in zip(v, wide[(order - 1 - o) * width + d])]
                        skip = g[f + "bias"][d * last + o]
                        v = [a + skip * b for a, b in zip(by.convolve(v, h[d * last + o]), v)]
                    rows_of.append([a * b for a, b in zip(v, wide[d])])
                y.append([by.linear(x, g["param.out_proj.weight"], g["param.out_proj.bias"]) for x in zip(*rows_of)])
            return {"y": y}
        self.add(name, "hyena", {"order": order, "l_max": most, "shift": shift, "num_heads": 1}, given, run,
                 [n for n in given if "pos_emb" not in n] if gradients else ())

    def test_hyena(self):
        for inner in range(6):
            self.hyena(f"inner_{inner}", inner=inner)
        self.hyena("order_4", order=4, shift=0.1)
        self.hyena("one", length=1, inner=4)
        self.hyena("features", features=7, inner=3, order=3)
        self.check()

    def test_buffers_that_the_case_leaves_out(self):
        """Features, time and decay rates follow from options and widths."""
        buffers = ("filter_fn.pos_emb.z", "filter_fn.pos_emb.t", "filter_fn.modulation.deltas")
        for name in ("hyena_o2_L337", "hyena_o3_L65"):
            case, tensors = read_case(name)
            kept = {n: t for n, t in tensors.items() if n.split(".", 1)[1] not in buffers}
            self.assertEqual(verdicts_of(case, kept), [("ok", "")], name)
            case["options"]["emb_dim"] = 4
            assert_unsupported(self, case, kept, "4 features")

    def test_gradients_of_a_deep_filter(self):
        self.hyena("deep", inner=3, length=4, width=2, gradients=True)
        self.check()

    def h3(self, name, head, rule, length=6, width=4, states=4):
        heads = width // head
        k = "param.kernel.kernel."
        given = {"input.u": draw(name, 2, length, width), "param.ssm_k_D": draw(name + "1", width),
                 "param.D": draw(name + "2", heads), "param.ssm_k_kernel.kernel.B": draw(name + "3", width, states),
                 "param.ssm_k_kernel.kernel.C": draw(name + "4", 1, width, states),
                 k + "C": draw(name + "5", 1, heads, states // 2, 2), k + "B": draw(name + "6", heads, states // 2, 2),
                 k + "log_dt": draw(name + "7", heads, low=-2, high=-1),
                 k + "inv_A_real": draw(name + "8", heads, states // 2), k + "A_imag": draw("9", heads, states // 2)}
        for of in ("q_proj", "k_proj", "v_proj", "output_linear"):
            given[f"param.{of}.weight"] = draw(name + of, width, width)
            given[f"param.{of}.bias"] = draw(name + of + "b", width)

        def shift_taps(b, c):
            return [sum(b[i] * c[i + t] for i in range(states - t)) for t in range(min(states, length))]

        def run(g):
            y = []
            for tokens in g["input.u"]:
                q, key, v = (list(zip(*(by.linear(x, g[f"param.{of}.weight"], g[f"param.{of}.bias"]) for x in tokens)))
                             for of in ("q_proj", "k_proj", "v_proj"))
                for c, row in enumerate(key):
                    short = shift_taps(g["param.ssm_k_kernel.kernel.B"][c], g["param.ssm_k_kernel.kernel.C"][0][c])
                    key[c] = [a + g["param.ssm_k_D"][c] * b for a, b in zip(by.convolve(row, short), row)]
                out = [[0.0] * length for _ in range(width)]
                for h in range(heads):
                    a = [complex(-math.exp(r), i) for r, i in zip(g[k + "inv_A_real"][h], g[k + "A_imag"][h])]
                    taps = by.diagonal_taps(rule, [math.exp(g[k + "log_dt"][h])] * len(a), a,
                                            [complex(*x) for x in g[k + "B"][h]],
                                            [complex(*x) for x in g[k + "C"][0][h]], length)
                    for i in range(head):
                        for j in range(head):
                            kv = [m * n for m, n in zip(key[h * head + i], v[h * head + j])]
                            for t, s in enumerate(by.convolve(kv, taps)):
                                out[j * heads + h][t] += q[h * head + i][t] * (s + g["param.D"][h] * kv[t])
                y.append([by.linear(x, g["param.output_linear.weight"], g["param.output_linear.bias"])
                          for x in zip(*out)])
            return {"y": y}
        self.add(name, "h3", {"head_dim": head, "d_state": states, "disc": rule}, given, run)

    def test_h3(self):
        self.h3("zoh", 1, "zoh")
        self.h3("heads", 2, "zoh", states=10)
        self.h3("all_one_head", 4, "bilinear")
        self.h3("one", 2, "bilinear", length=1)
        self.check()

    def test_gates_of_retention(self):
        """y = out_proj(gate(g_proj x) norm(core)), of the official core."""
        def rows_of(tensor, width):
            values = struct.unpack(f"<{len(tensor[1]) // 4}f", tensor[1])
            return [list(values[at:at + width]) for at in range(0, len(values), width)]
        case, tensors = read_case("retention_msr_L37_h4")
        kept = {n: t for n, t in tensors.items()
                if n.split(".")[0] in ("input", "param") or n == "output.core_parallel"}
        core, x = rows_of(tensors["output.core_parallel"], 8), rows_of(tensors["input.x"], 16)
        gate, out = rows_of(tensors["param.g_proj.weight"], 16), rows_of(tensors["param.out_proj.weight"], 32)
        for name in ("relu", "gelu", "swish", "silu", "tanh"):
            y = []
            for token, row in enumerate(x):
                normal = [n for h in range(4) for n in by.norm(core[4 * token + h], 1e-6)]
                y.append(by.linear([by.ACTIVATIONS[name](a) * n for a, n in zip(by.linear(row, gate), normal)], out))
            shape = tensors["output.y_parallel"][0]
            case["options"]["gate_fn"] = name
            write_case(self.tree / name, case, {**kept, "output.y_parallel": (shape, *stored(y)[1:])})
        self.check()
        case["options"]["gate_fn"] = "selu"
        assert_unsupported(self, case, kept, "no activation selu")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
