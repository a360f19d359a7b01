#!/usr/bin/env bash
# compare-ncu.sh CELL...: what "seqmark profile" counts of a cell beside what Nsight Compute counts of the
# same launch, required beside reached: DRAM bytes, tensor operations and instructions within 2 %. ncu
# counts each kernel of the launch, here summed up. Neither sets clocks; the caches are as the cell says
# in both, so ncu's passes that move memory about are kept apart from its count of DRAM bytes.
# Environment: SEQMARK (build/release/seqmark), NCU (ncu). Needs the permission for counters and python3.
# Exit code 0: all within 2 %; 1: one beyond, or nothing to compare; 2: usage, or a tool failed.
set -uo pipefail
[ $# -gt 0 ] || { sed -n '2,7s/^# //p' "$0" >&2; exit 2; }
seqmark=${SEQMARK:-build/release/seqmark}
ncu=${NCU:-ncu}
command -v "$ncu" >/dev/null || { echo "compare-ncu.sh: no $ncu on PATH" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

dram=dram__bytes_read.sum,dram__bytes_write.sum
executed=sm__inst_executed.sum,sm__ops_path_tensor_src_bf16_dst_fp32.sum,sm__ops_path_tensor_src_fp16.sum

# ncu_of CELL METRICS CSV: the kernels in the range of the launch; without such a range those of the process,
# in which only the launch's own kernels are meant to run.
ncu_of() {
    count "$1" "$2" "$3" --nvtx --nvtx-include "seqmark.launch/" || return 1
    grep -q '^"[0-9]' "$3" || count "$1" "$2" "$3"
}

count() {
    local cell=$1 metrics=$2 log=$3
    shift 3
    "$ncu" --target-processes all --clock-control none --cache-control none --replay-mode kernel "$@" \
        --csv --page raw --print-units base --log-file "$log" --metrics "$metrics" \
        "$seqmark" run --cell "$cell" --profile --db "$work/ncu.db" >"$work/ncu.out" 2>&1
}

compare() {
    python3 - "$1" "$work/own.json" "$work/dram.csv" "$work/executed.csv" <<'PY'
import csv, json, sys

cell, own_json, *logs = sys.argv[1:]
own = {v["metric"]: v["value"] for v in json.load(open(own_json, encoding="utf-8"))["values"]
       if v["validity"] == "ok" and v["value"] is not None}
ncu, kernels = {}, 0
for name in logs:
    lines = [l for l in open(name, encoding="utf-8", errors="replace") if l.startswith('"')]
    rows = list(csv.DictReader(lines))
    rows = [r for r in rows if r["ID"].strip()]  # the row of units has none
    kernels = max(kernels, len(rows))
    for row in rows:
        for column, text in row.items():
            if column and column.startswith(("dram__", "sm__")) and text:
                ncu[column] = ncu.get(column, 0) + float(text.replace(",", ""))

# (what, our metrics, ncu's); what either side did not count is said and not compared
QUANTITIES = [
    ("DRAM bytes", ("dram_bytes_read", "dram_bytes_written"),
     ("dram__bytes_read.sum", "dram__bytes_write.sum")),
    ("f16 tensor operations", ("tensor_ops_f16",), ("sm__ops_path_tensor_src_fp16.sum",))
    if "/f16/" in cell else
    ("bf16 tensor operations", ("tensor_ops_bf16",),
     ("sm__ops_path_tensor_src_bf16_dst_fp32.sum",)),
    ("instructions", ("instructions",), ("sm__inst_executed.sum",)),
]
print(f"{cell}\n  {kernels} kernels in ncu's range")
beyond, compared = 0, 0
for what, ours, theirs in QUANTITIES:
    if not all(m in own for m in ours) or not all(m in ncu for m in theirs):
        print(f"  {what}: not counted on both sides")
        continue
    a, b = sum(own[m] for m in ours), sum(ncu[m] for m in theirs)
    compared += 1
    if a == b == 0:
        print(f"  {what}: 0 on both sides")
        continue
    ratio = a / b if b else float("inf")
    is_within = abs(ratio - 1) <= 0.02
    beyond += not is_within
    print(f"  {what}: {a:.6g} / {b:.6g} = {ratio:.4f}; required 1 +- 0.02: "
          f"{'reached' if is_within else 'NOT reached'}")
sys.exit(1 if beyond or compared == 0 else 0)
PY
}

for cell in "$@"; do
    sets=roofline
    [[ $cell != */f16/* ]] || sets=roofline,tensor # where f16 is counted
    if ! "$seqmark" profile "$cell" --counters "$sets" -o json --db "$work/own.db" --out "$work/page" \
        >"$work/own.json" 2>"$work/own.err"; then
        echo "$cell: seqmark profile failed: $(tail -n 1 "$work/own.err")"
        status=2
        continue
    fi
    if ! ncu_of "$cell" "$dram" "$work/dram.csv" || ! ncu_of "$cell" "$executed" "$work/executed.csv"; then
        echo "$cell: ncu failed: $(tail -n 1 "$work/ncu.out")"
        status=2
        continue
    fi
    compare "$cell" || status=$((status > 1 ? status : 1))
done
exit $status
