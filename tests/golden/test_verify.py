#!/usr/bin/env python3
"""seqmark verify on the golden data: what must be right is right, what is wrong is found, and what is
no case is refused. CPU backend.

usage: test_verify.py SOURCE_DIR BINARY_DIR
"""
import json
import os
import pathlib
import re
import shutil
import struct
import sys
import tempfile
import unittest

from cases import DATA, SOURCE, assert_unsupported, header_of, read_case, rows, verdicts_of, verify

CASE = "attn_gqa_4_2_L63_b2"
# Cases of tests/golden/data that are not right as a whole, a line for each: CASE outputs (nothing of it is
# wrong, something not computed) or CASE nothing.
GAPS = dict(line.split() for line in (SOURCE / "tests/golden/gaps.txt").read_text().splitlines())


class Golden(unittest.TestCase):
    def compared(self, dtype):
        result, all_rows = rows(DATA, "--dtype", dtype)
        self.assertIn(result.returncode, (0, 6), result.stderr)
        self.assertEqual({r["case"] for r in all_rows}, {p.parent.name for p in DATA.glob("*/case.json")})
        self.assertEqual([r for r in all_rows if r["verdict"] == "mismatch"], [])
        found = [r for r in all_rows if r["tensor"]]
        for row in found:
            self.assertLessEqual(row["rel_l2"], row["tolerance"], row)
        gaps = {r["case"]: "outputs" if r["tensor"] else "nothing"
                for r in all_rows if r["verdict"] != "ok"}
        self.maxDiff = None
        self.assertEqual(gaps, GAPS, "tests/golden/gaps.txt lists what is not right yet")
        return found

    def test_f32(self):
        for row in self.compared("f32"):
            # References accumulate in f64, but what is made of several hands f32 from one to the next.
            self.assertLess(row["rel_l2"], 5e-6, row)

    def test_bf16(self):
        worst = max(row["rel_l2"] for row in self.compared("bf16"))
        self.assertGreater(worst, 1e-4)  # it was computed in bf16

    def test_f16(self):
        self.compared("f16")


class Tampered(unittest.TestCase):
    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.case = pathlib.Path(self.holder.name) / CASE
        shutil.copytree(DATA / CASE, self.case)
        self.data = self.case / "data.safetensors"

    def tearDown(self):
        self.holder.cleanup()

    def patch(self, name, index, value):
        """Writes one f32 element of a tensor."""
        raw = bytearray(self.data.read_bytes())
        header, data = header_of(raw)
        struct.pack_into("<f", raw, data + header[name]["data_offsets"][0] + 4 * index, value)
        self.data.write_bytes(raw)

    def test_one_wrong_element_is_found(self):
        self.patch("output.o", 17, 3.5)
        result, found = rows(self.case)
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertEqual([r["verdict"] for r in found], ["mismatch"])
        self.assertIn("element 17", found[0]["reason"])
        got = float(re.search(r"got ([-+.0-9e]+),", found[0]["reason"])[1])
        self.assertAlmostEqual(found[0]["max_abs"], 3.5 - got, places=4)
        self.assertIn("want 3.5", result.stderr)

    def test_no_type_lets_a_wrong_case_widen_its_bounds(self):
        self.patch("output.o", 17, 3.5)
        for dtype in ("bf16", "f16"):
            result, found = rows(self.case, "--dtype", dtype)
            self.assertEqual(result.returncode, 4, result.stderr)
            self.assertIn("reference in f32: output.o", found[0]["reason"])

    def test_a_wrong_gradient_is_found_in_16_bits(self):
        self.patch("grad.k", 5, 7.5)
        result, found = rows(self.case, "--dtype", "bf16")
        self.assertEqual((result.returncode, found[0]["tensor"]), (4, "grad.k"))

    def test_a_folder_that_holds_itself(self):
        for name in ("again", "and_again"):
            (pathlib.Path(self.holder.name) / name).symlink_to(self.holder.name)
        result, found = rows(self.holder.name)
        self.assertEqual((result.returncode, [r["case"] for r in found]), (0, [CASE]), result.stderr)

    def test_a_case_inside_a_case(self):
        shutil.copytree(self.case, self.case / "inner")
        result, found = rows(self.holder.name)
        self.assertEqual((result.returncode, len(found)), (0, 2), result.stderr)

    def test_folders_too_deep(self):
        deep = pathlib.Path(self.holder.name, *"abcdefghijklmnopqrs")
        deep.mkdir(parents=True)
        shutil.copytree(self.case, deep / "case")
        result, found = rows(self.holder.name)
        self.assertEqual(result.returncode, 6, result.stderr)
        self.assertEqual(sorted((r["verdict"], r["reason"]) for r in found),
                         [("ok", ""), ("unsupported", "folders too deep")])

    def test_a_path_too_long(self):
        base, depth = self.holder.name, 0
        while len(base) < 4070:
            base += "/" + "x" * min(254, 4072 - len(base) - 1)
            depth += 1
        pathlib.Path(base).mkdir(parents=True)
        self.assertGreater(depth, 12)
        top = base[:len(self.holder.name) + 3 * 255]  # so that the depth is allowed
        result, found = rows(top)
        self.assertEqual((result.returncode, [r["verdict"] for r in found]), (6, ["unsupported"]), result.stderr)
        self.assertIn("too long", found[0]["reason"])

    @unittest.skipIf(os.geteuid() == 0, "root reads everything")
    def test_a_folder_that_cannot_be_read(self):
        closed = pathlib.Path(self.holder.name, "closed")
        closed.mkdir(0)
        result, found = rows(self.holder.name)
        closed.chmod(0o700)
        self.assertEqual((result.returncode, sorted(r["reason"] for r in found)), (6, ["", "Permission denied"]))

    def test_half_a_case(self):
        for name, text in (("case.json", "data.safetensors"), ("data.safetensors", "case.json")):
            half = pathlib.Path(self.holder.name, name.replace(".", "_"))
            half.mkdir()
            shutil.copy(self.case / name, half)
            result, found = rows(half)
            self.assertEqual((result.returncode, [r["verdict"] for r in found]), (6, ["unsupported"]), result.stderr)
            self.assertIn(text, found[0]["reason"])

    def test_a_name_that_is_no_text(self):
        odd = os.path.join(os.fsencode(self.holder.name), b"odd\xff")
        shutil.copytree(os.fsencode(self.case), odd)
        result, found = rows(self.holder.name)
        self.assertEqual(result.returncode, 6, result.stderr)
        self.assertEqual(sorted(r["verdict"] for r in found), ["ok", "unsupported"])
        self.assertIn("no UTF-8", result.stderr)

    def test_data_that_is_no_file(self):
        self.data.unlink()
        os.mkfifo(self.data)
        self.assertIn("no safetensors file", verify(self.case).stderr)

    def test_json_that_is_no_file(self):
        text = self.case / "case.json"
        text.unlink()
        os.mkfifo(text)
        self.assertIn("case.json: no file", verify(self.case).stderr)
        text.unlink()
        text.symlink_to("/nowhere")
        result, found = rows(self.holder.name)
        self.assertEqual((result.returncode, len(found)), (6, 1), result.stderr)

    def test_a_nan_in_the_data_is_no_proof(self):
        self.patch("output.o", 0, float("nan"))
        self.assertEqual(verify(self.case).returncode, 4)

    def test_shape_and_options_disagree(self):
        text = (self.case / "case.json").read_text()
        (self.case / "case.json").write_text(text.replace('"seqlen_q": 63', '"seqlen_q": 62'))
        result = verify(self.case)
        self.assertEqual(result.returncode, 6)
        self.assertIn("its shape is not that of the options", result.stderr)

    def test_short_file(self):
        self.data.write_bytes(self.data.read_bytes()[:-100])
        result = verify(self.case)
        self.assertEqual(result.returncode, 6)
        self.assertIn("its offsets do not hold", result.stderr)

    def test_no_json(self):
        (self.case / "case.json").write_text('{"kind": ')
        result = verify(self.case)
        self.assertEqual(result.returncode, 6)
        self.assertIn("case.json:1", result.stderr)

    def test_no_data(self):
        self.data.unlink()
        self.assertIn("No such file", verify(self.case).stderr)


class Derived(unittest.TestCase):
    """What follows from the official results of SPADE's layer 0, for options that no case has."""
    CASE = "layer_spade0_add_L37"
    C = "param.s4_module.s4.kernel.kernel.C"

    def setUp(self):
        self.case, self.tensors = read_case(self.CASE)

    def verdicts(self, **options):
        """Verdict and reason of the tensors, under the options of the case changed so."""
        return verdicts_of({**self.case, "options": {**self.case["options"], **options}}, self.tensors)

    def test_the_filter_was_set_up_already(self):
        self.tensors[self.C] = self.tensors["aux.C_tilde"]
        self.assertEqual(self.verdicts(), [("ok", "")])
        del self.tensors["aux.C_tilde"]
        self.assertEqual(self.verdicts()[0][0], "mismatch")

    def test_a_sum_is_a_linear_layer_of_both(self):
        width = self.case["options"]["embed_dim"]
        rows_of_both = [0.5 * (k % width == n) for n in range(width) for k in range(2 * width)]
        weight = struct.pack(f"<{2 * width ** 2}f", *rows_of_both)
        self.tensors["param.aggregate.weight"] = ([width, 2 * width], weight, "F32")
        self.tensors["param.aggregate.bias"] = ([width], bytes(4 * width), "F32")
        self.assertEqual(self.verdicts(s4_local_combine="concat"), [("ok", "")])

    def test_what_is_later_changes_nothing(self):
        for name in [n for n in self.tensors if n.split(".")[0] in ("cotangent", "grad")]:
            del self.tensors[name]
        for name in ("input.x", "output.y"):
            shape, values, dtype = self.tensors[name]
            self.tensors[name] = ([23, *shape[1:]], values[:23 * 4 * shape[1] * shape[2]], dtype)
        self.assertEqual(self.verdicts(seqlen=23), [("ok", "")])
        self.assertEqual(self.verdicts(seqlen=23, max_target_positions=23)[0][0], "mismatch")

    def test_no_such_option(self):
        self.assertIn("add, concat and stack", self.verdicts(s4_local_combine="multiply")[0][1])
        self.assertIn("no activation selu", self.verdicts(activation_fn="selu")[0][1])


class Made(unittest.TestCase):
    """What follows from official results, of one case each, for inputs and options that no case has."""

    def verdict(self, case, tensors):
        return verdicts_of(case, tensors)[0]

    def test_swish_is_silu(self):
        for name in ("conv1d_w4_silu_L37", "conv1d_update_w4"):
            case, tensors = read_case(name)
            case["options"]["activation"] = "swish"
            self.assertEqual(self.verdict(case, tensors), ("ok", ""), name)

    def test_an_input_that_no_operator_takes(self):
        case, tensors = read_case("conv1d_w4_silu_L37")
        tensors["input.seq_idx"] = ([2, 37], bytes(4 * 74), "I32")
        self.assertEqual(self.verdict(case, tensors), ("unsupported", "input.seq_idx: nothing here takes it"))

    def test_a_parameter_that_no_layer_takes(self):
        for name in ("layer_mamba_d24_L67", "layer_s4block_diag", "hyena_o2_L37", "retention_msr_L1"):
            case, tensors = read_case(name)
            tensors["param.gate.weight"] = ([2], bytes(8), "F32")
            self.assertEqual(self.verdict(case, tensors),
                             ("unsupported", "param.gate.weight: nothing here takes it"), name)

    def test_an_input_of_another_form(self):
        """simple_gla's gate is one number a head: one of gla's beside it is not left unseen."""
        case, tensors = read_case("simple_gla_L1")
        tensors["input.gk"] = ([2, 1, 2, 8], bytes(4 * 32), "F32")
        self.assertEqual(self.verdict(case, tensors), ("unsupported", "input.gk: nothing here takes it"))

    def test_a_case_without_outputs(self):
        case, tensors = read_case("fftconv_L127")
        kept = {n: t for n, t in tensors.items() if n.startswith("input.")}
        self.assertEqual(self.verdict(case, kept), ("unsupported", "the case stores no output to compare with"))

    def test_tensors_that_do_not_agree(self):
        case, tensors = read_case("simple_gla_L65_init")
        for name, shape in (("grad.q", [65, 2, 2, 8]), ("cotangent.o", [2, 65, 16])):
            _, values, dtype = tensors[name]
            assert_unsupported(self, case, {**tensors, name: (shape, values, dtype)}, "its shape is not that of")
        for name, without in (("cotangent.final_state", "output.final_state"), ("grad.g", "input.g")):
            kept = {n: t for n, t in tensors.items() if n != without}
            verdict, reason = self.verdict(case, kept)
            self.assertEqual(verdict, "unsupported", reason)
        kept = {n: t for n, t in tensors.items() if n != "input.initial_state" and n.split(".")[0] != "grad"}
        self.assertEqual(self.verdict(case, kept), ("unsupported", "has_initial_state is true, but the case has no "
                                                    "input.initial_state"))

    def test_a_case_cannot_widen_its_bounds(self):
        case, tensors = read_case("fftconv_L127")
        shape, values, dtype = tensors["output.y"]
        off = [1.1 * x for x in struct.unpack(f"<{len(values) // 4}f", values)]
        case["float32_run"] = {"output": {"max_abs_diff_over_max_abs": 1e9}}
        tensors["output.y"] = (shape, struct.pack(f"<{len(off)}f", *off), dtype)
        self.assertEqual(self.verdict(case, tensors)[0], "mismatch")

    def test_what_is_not_finite_by_design(self):
        case, tensors = read_case("fftconv_L127")
        case["non_finite_by_design"] = ["output.y"]
        assert_unsupported(self, case, tensors, "output.y: not finite by design")

    def test_an_option_of_another_kind(self):
        for name, option, value in (("attn_L1", "causal", "yes"), ("rmsnorm_d96", "eps", "1e-5"),
                                    ("attn_L1", "window_size", 4), ("conv1d_w4_silu_L37", "activation", 1)):
            case, tensors = read_case(name)
            case["options"][option] = value
            assert_unsupported(self, case, tensors, f"option {option}")
        case, tensors = read_case("conv1d_w4_silu_L37")
        case["options"]["activation"] = "gelu"
        self.assertEqual(self.verdict(case, tensors), ("unsupported", "the operator has no activation but SiLU"))

    def test_a_model_of_a_layer_s_name(self):
        case, tensors = read_case("layer_mamba_L1")
        self.assertEqual(self.verdict({**case, "kind": "model"}, tensors),
                         ("unsupported", "no operator computes a model: mamba"))

    def test_a_limit_beyond_all_steps(self):
        case, tensors = read_case("ssd_scan_L37_Dchan")
        case["options"]["dt_limit"] = [0, 1e9]
        self.assertEqual(self.verdict(case, tensors), ("ok", ""))

    def test_hard_alibi_of_no_heads(self):
        case, tensors = read_case("layer_nope_h4_L31")
        case["subject"] = "attention_hard_alibi"
        self.assertEqual(self.verdict(case, tensors), ("ok", ""))

    def test_biases_of_the_mixers(self):
        for name in ("layer_mamba_d24_L67", "layer_mamba2_g2_L65"):
            case, tensors = read_case(name)
            for of in ("in_proj", "out_proj"):
                width = tensors[f"param.{of}.weight"][0][0]
                tensors[f"param.{of}.bias"] = ([width], bytes(4 * width), "F32")
            self.assertEqual(self.verdict(case, tensors), ("ok", ""), name)
            width = tensors["param.out_proj.bias"][0][0]
            tensors["param.out_proj.bias"] = ([width], struct.pack(f"<{width}f", *[0.5] * width), "F32")
            self.assertEqual(self.verdict(case, tensors)[0], "mismatch", name)

    def test_a_convolution_without_bias(self):
        """Its bias is 0 in the official run of no case: without it the result is another one."""
        case, tensors = read_case("layer_mamba_d24_L67")
        del tensors["param.conv1d.bias"], tensors["grad.conv1d.bias"]
        verdict, reason = self.verdict(case, tensors)
        self.assertEqual(verdict, "mismatch")
        self.assertIn("output.", reason)


class Malformed(unittest.TestCase):
    """A number of case.json may be anything: it is refused or makes the case wrong, and the worker lives."""
    NUMBERS = (0, -1, 0.5, 1e300, -1e300)

    @staticmethod
    def smallest():
        """The smallest case of each subject: its folder and its case.json."""
        found = {}
        for path in sorted(DATA.glob("*/case.json"), key=lambda p: (p.parent / "data.safetensors").stat().st_size):
            case = json.loads(path.read_text())
            found.setdefault(case["subject"], (path.parent, case))
        return found.values()

    @classmethod
    def variants(cls, options):
        """Name and options, with one number replaced."""
        for key, value in options.items():
            for at, item in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(item, bool) or not isinstance(item, (int, float)):
                    continue
                for bad in cls.NUMBERS:
                    changed = bad if at is None else [*value[:at], bad, *value[at + 1:]]
                    yield f"{key}.{at}.{bad}", {**options, key: changed}

    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.tree = pathlib.Path(self.holder.name)
        self.cases = 0
        for folder, case in self.smallest():
            for name, options in self.variants(case["options"]):
                made = self.tree / f"{folder.name}.{name}"
                made.mkdir()
                (made / "case.json").write_text(json.dumps({**case, "options": options}))
                (made / "data.safetensors").symlink_to((folder / "data.safetensors").resolve())
                self.cases += 1

    def tearDown(self):
        self.holder.cleanup()

    def test_no_number_ends_the_worker(self):
        _, found = rows(self.tree)
        self.assertEqual(len(found), self.cases)
        self.assertGreater(self.cases, 500)
        ended = [(r["case"], r["reason"]) for r in found if not r["kind"] and "refuses" not in r["reason"]]
        self.assertEqual(ended, [])
        reasons = "\n".join(r["reason"] for r in found)
        for text in ("head_dim: 0 is not from 1", "heads: 0 is not from 1", "recurrent_chunk_size: -1 is not from 1",
                     "steps: 9007199254740992 is not from 1"):
            self.assertTrue(text in reasons, text)


class Cells(unittest.TestCase):
    CELL = "ssd@cpu/ref/fwd/bf16/B=2,L=37,H=4,P=16,N=8/clean-cold,plain,unlocked"

    def test_one_cell(self):
        result, found = rows("--cell", self.CELL, "--seed", "7", "--layout", "strided", "--values", "strong")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual([(r["kind"], r["subject"], r["verdict"]) for r in found], [("cell", "ssd", "ok")])

    def test_a_block(self):
        cell = "block:mamba@cpu/ref/fwd/f32/B=1,L=9,D=64/clean-cold,plain,unlocked"
        self.assertEqual(verify("--cell", cell).returncode, 0)

    def test_a_provider_that_is_not_here(self):
        result, found = rows("--cell", self.CELL.replace("cpu/ref", "cuda/naive"))
        self.assertEqual((result.returncode, found[0]["verdict"]), (6, "unsupported"))

    def test_fuzz(self):
        result, kinds = rows("--fuzz", "150", "--seed", "3")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(sum(r["cells"] for r in kinds), 150)
        self.assertEqual(sum(r["wrong"] for r in kinds), 0)
        self.assertGreater(len({r["op"] for r in kinds}), 5)
        gradients = {r["worst_tensor"].startswith("d_") for r in kinds if r["pass"] == "bwd"}
        self.assertEqual(gradients, {True})
        self.assertNotIn("", {r["worst_tensor"] for r in kinds})
        self.assertEqual(verify("--fuzz", "150", "--seed", "3", "-o", "jsonl").stdout, result.stdout)

    def test_fuzz_of_one_operator(self):
        _, kinds = rows("--fuzz", "9", "--op", "rmsnorm", "--provider", "cpu/ref")
        self.assertEqual({(r["op"], r["provider"]) for r in kinds}, {("rmsnorm", "cpu/ref")})


class Usage(unittest.TestCase):
    def refused(self, text, *words):
        result = verify(*words)
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn(text, result.stderr)

    def test_refusals(self):
        with tempfile.TemporaryDirectory() as empty:
            self.refused("no case.json there", empty)
            self.refused("No such file", os.path.join(empty, "nowhere"))
        self.refused("needs the path of a case")
        self.refused("needs the path of a case", DATA / CASE, "--fuzz", "1")
        self.refused("--fuzz", "--fuzz", "0")
        self.refused("--seed", "--fuzz", "1", "--seed", "x")
        self.refused("below 2^64", "--fuzz", "1", "--seed", "18446744073709551616")
        self.refused('did you mean "rmsnorm"', "--fuzz", "1", "--op", "rmsnrm")
        self.refused("is not subject@provider/pass/dtype/axes/modes", "--cell", "garbage")
        self.refused('did you mean "ssd"', "--cell", Cells.CELL.replace("ssd", "sssd", 1))
        self.refused('unknown layout "sparse"', "--cell", Cells.CELL, "--layout", "sparse")
        self.refused('did you mean "strong"', "--cell", Cells.CELL, "--values", "strongg")
        self.refused('did you mean "bf16"', DATA / CASE, "--dtype", "bf61")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
