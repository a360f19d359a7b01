#!/usr/bin/env bash
# compare-ncu.sh [--variants] CELL...: what "seqmark profile" counts of a cell beside what Nsight Compute counts
# of the same launch, required beside reached: DRAM bytes (reads and writes apart, judged together), tensor
# operations and instructions within 2 %. ncu counts each kernel of the launch, here summed up. Neither sets
# clocks; the caches are as the cell says in both, so ncu's passes that move memory about are kept apart from its
# count of DRAM bytes. --variants: also DRAM reads and writes beside L2 misses, in ways of ncu that tell where
# bytes come from that only one side counts: what ncu saves and restores between replays (not done where it
# replays the application), what was dirty in L2 before (flushed by --cache-control all), and passes shared.
# Environment: SEQMARK (build/release/seqmark), NCU (ncu). Needs the permission for counters and python3.
# Exit code 0: all within 2 %; 1: one beyond, or nothing to compare; 2: usage, or a tool failed.
set -uo pipefail
has_variants=
[ "${1-}" != --variants ] || { has_variants=1; shift; }
[ $# -gt 0 ] || { sed -n '2,11s/^# //p' "$0" >&2; exit 2; }
seqmark=${SEQMARK:-build/release/seqmark}
ncu=${NCU:-ncu}
command -v "$ncu" >/dev/null || { echo "compare-ncu.sh: no $ncu on PATH" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

dram=dram__bytes_read.sum,dram__bytes_write.sum
reads=dram__bytes_read.sum,lts__t_sectors_op_read_lookup_miss.sum
writes=dram__bytes_write.sum,lts__t_sectors_op_write_lookup_miss.sum
executed=sm__inst_executed.sum,sm__ops_path_tensor_src_bf16_dst_fp32.sum,sm__ops_path_tensor_src_fp16.sum

# ncu_of CELL METRICS CSV REPLAY CACHES: the kernels in the range of the launch; without such a range those of the process,
# in which only the launch's own kernels are meant to run.
ncu_of() {
    count "$@" --nvtx --nvtx-include "seqmark.launch/" || return 1
    grep -q '^"[0-9]' "$3" || count "$@"
}

# count CELL METRICS CSV REPLAY CACHES [OPTION...]
count() {
    local cell=$1 metrics=$2 log=$3 replay=$4 caches=$5
    shift 5
    "$ncu" --target-processes all --clock-control none --cache-control "$caches" --replay-mode "$replay" "$@" \
        --csv --page raw --print-units base --log-file "$log" --metrics "$metrics" \
        "$seqmark" run --cell "$cell" --profile --db "$work/ncu.db" >"$work/ncu.out" 2>&1 </dev/null
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

def apart(what, mine, theirs):
    """One direction, for the eye: a small one may be far off in percent and mean nothing."""
    if mine in own and theirs in ncu:
        a, b = own[mine], ncu[theirs]
        print(f"  DRAM bytes {what}: {a:.6g} / {b:.6g}; ncu counts {(b - a) / 1e6:+.2f} MB more")


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
apart("read", "dram_bytes_read", "dram__bytes_read.sum")
apart("written", "dram_bytes_written", "dram__bytes_write.sum")
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

# variants CELL: one line each of MB read and written in DRAM and of the sectors that missed in L2.
variants() {
    local cell=$1 name replay caches metrics
    python3 - "$work/own.json" <<'PY'
import json, sys
own = {v["metric"]: v["value"] for v in json.load(open(sys.argv[1], encoding="utf-8"))["values"]
       if v["validity"] == "ok" and v["value"] is not None}
COLUMNS = (("dram_bytes_read", 1), ("own_read_misses", 32), ("dram_bytes_written", 1), ("own_write_misses", 32))
print(f"  {'MB':24}{'DRAM read':>12}{'read misses':>13}{'DRAM written':>14}{'write misses':>14}")
cells = [f"{own[m] * size / 1e6:.2f}" if m in own else "-" for m, size in COLUMNS]
print(f"  {'seqmark':24}{cells[0]:>12}{cells[1]:>13}{cells[2]:>14}{cells[3]:>14}")
PY
    while read -r name replay caches metrics; do
        : >"$work/variant.csv"
        for one in ${metrics//;/ }; do
            if ncu_of "$cell" "$one" "$work/one.csv" "$replay" "$caches"; then
                cat "$work/one.csv" >>"$work/variant.csv"
            else
                echo "  $name: ncu failed: $(tail -n 1 "$work/ncu.out")"
            fi
        done
        python3 - "$name" "$work/variant.csv" <<'PY'
import csv, sys
name, path = sys.argv[1:]
sums, columns = {}, []
for fields in csv.reader(l for l in open(path, encoding="utf-8", errors="replace") if l.startswith('"')):
    if fields[0] == "ID":
        columns = fields
    elif fields[0].strip():
        for column, text in zip(columns, fields):
            if column.startswith(("dram__", "lts__")) and text:
                sums[column] = sums.get(column, 0) + float(text.replace(",", ""))
WANTED = (("dram__bytes_read.sum", 1, 12), ("lts__t_sectors_op_read_lookup_miss.sum", 32, 13),
          ("dram__bytes_write.sum", 1, 14), ("lts__t_sectors_op_write_lookup_miss.sum", 32, 14))
cells = [(f"{sums[m] * size / 1e6:.2f}" if m in sums else "-").rjust(width) for m, size, width in WANTED]
print(f"  {'ncu, ' + name:24}{''.join(cells)}")
PY
    done <<EOF
kernel-replay kernel none $reads,$writes
reads-writes-apart kernel none $reads;$writes
one-metric-a-run kernel none ${reads//,/;};${writes//,/;}
application-replay application none $reads,$writes
caches-flushed kernel all $reads,$writes
EOF
}

# What to count of a cell: sets, or for the variants a file with the misses too.
counters_of() {
    local sets=roofline
    [[ $1 != */f16/* ]] || sets=roofline,tensor # where f16 is counted
    if [ -z "$has_variants" ]; then
        echo "$sets"
        return
    fi
    printf 'include %s\n' ${sets//,/ } >"$work/counters.txt"
    printf '%s\n' "own_read_misses lts__t_sectors_op_read_lookup_miss.sum" \
        "own_write_misses lts__t_sectors_op_write_lookup_miss.sum" >>"$work/counters.txt"
    echo "$work/counters.txt"
}

for cell in "$@"; do
    if ! "$seqmark" profile "$cell" --counters "$(counters_of "$cell")" -o json --db "$work/own.db" --out "$work/page" \
        >"$work/own.json" 2>"$work/own.err"; then
        echo "$cell: seqmark profile failed: $(tail -n 1 "$work/own.err")"
        status=2
        continue
    fi
    if ! ncu_of "$cell" "$dram" "$work/dram.csv" kernel none ||
        ! ncu_of "$cell" "$executed" "$work/executed.csv" kernel none; then
        echo "$cell: ncu failed: $(tail -n 1 "$work/ncu.out")"
        status=2
        continue
    fi
    compare "$cell" || status=$((status > 1 ? status : 1))
    [ -z "$has_variants" ] || variants "$cell"
done
exit $status
