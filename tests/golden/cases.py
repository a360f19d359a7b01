"""Golden cases as tests read, change and write them, and what seqmark verify says of them. The arguments are
those of the tests: SOURCE_DIR BINARY_DIR.
"""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(sys.argv[1])
SEQMARK = pathlib.Path(sys.argv[2]) / "seqmark"
DATA = SOURCE / "tests/golden/data"


def verify(*words):
    return subprocess.run([str(SEQMARK), "verify", *map(str, words), "--device", "cpu"],
                          capture_output=True, text=True, timeout=300, check=False)


def rows(*words):
    result = verify(*words, "-o", "jsonl")
    return result, [json.loads(line) for line in result.stdout.splitlines()]


def header_of(raw):
    """The header of a safetensors file, and where its data begin."""
    length = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8:8 + length]), 8 + length


def read_case(name):
    """A golden case's json, and its tensors by name: shape, values, type."""
    raw = (DATA / name / "data.safetensors").read_bytes()
    header, data = header_of(raw)
    tensors = {}
    for tensor, of in header.items():
        start, end = (data + at for at in of["data_offsets"])
        tensors[tensor] = (of["shape"], raw[start:end], of["dtype"])
    return json.loads((DATA / name / "case.json").read_text()), tensors


def write_case(folder, case, tensors):
    """A case of this json and these tensors, by name: shape, values, type."""
    header, data = {}, b""
    for name, (shape, values, dtype) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    folder.mkdir()
    (folder / "case.json").write_text(json.dumps(case))
    (folder / "data.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def verdicts_of(case, tensors):
    """Verdict and reason of a case of this json and these tensors."""
    with tempfile.TemporaryDirectory() as folder:
        write_case(pathlib.Path(folder) / "made", case, tensors)
        return [(r["verdict"], r["reason"]) for r in rows(folder)[1]]


def assert_unsupported(test, case, tensors, text):
    """That verify does not take the case, for a reason in which this text stands."""
    (verdict, reason), = verdicts_of(case, tensors)
    test.assertEqual((verdict, text in reason), ("unsupported", True), reason)
