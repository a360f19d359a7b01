#!/usr/bin/env bash
# gpu-evidence.sh OUT: on a machine with a GPU and a built tree, everything that CI cannot run: the GPU
# tests, the same under compute-sanitizer, the quick suite and the length sweep. Writes logs, the store and
# evidence.json into OUT. The report is made from the store, here or elsewhere.
# Usage: scripts/gpu-evidence.sh OUT [BUILD] [PART...]   parts: tests memcheck quick sweep (default all)
set -uo pipefail
out=${1:?usage: gpu-evidence.sh OUT [BUILD] [PART...]}
build=${2:-build/release}
shift $(($# < 2 ? $# : 2))
parts=" ${*:-tests memcheck quick sweep} "
mkdir -p "$out"
db=$out/h100.db
status=0

wants() { case "$parts" in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
# Every "N passed, N failed" line of a log, joined; empty where there is no log.
counts() { grep -hE '^[0-9]+ passed, [0-9]+ failed' "$1" 2>/dev/null | paste -sd ';' | sed 's/;/; /g'; }
sanitizer_summary() { grep -hoE 'ERROR SUMMARY: .*' "$1" 2>/dev/null; }
seconds() { date +%s; }

if wants tests; then
    : >"$out/tests.txt"
    for test in "$build"/tests/test_gpu_*; do
        [ -x "$test" ] || continue
        echo "== $(basename "$test")" | tee -a "$out/tests.txt"
        "$test" >>"$out/tests.txt" 2>&1 || status=1
        tail -n 1 "$out/tests.txt"
    done
    "$build/tests/test_gpu_ops" --large >"$out/large.txt" 2>&1 || status=1
    echo "large: $(counts "$out/large.txt")"
fi
if wants memcheck; then
    # API errors are the tests' own business: one of them asks for more memory than there is.
    compute-sanitizer --tool memcheck --report-api-errors no --error-exitcode 3 --print-limit 20 \
        "$build/tests/test_gpu_ops" --small >"$out/memcheck.txt" 2>&1 || status=1
    echo "memcheck: $(sanitizer_summary "$out/memcheck.txt"); $(counts "$out/memcheck.txt")"
fi
if wants quick; then
    start=$(seconds)
    "$build/seqmark" run --suite quick --device 0 --db "$db" --label quick >"$out/quick.txt" 2>&1 ||
        status=1
    echo "quick: $(($(seconds) - start)) s; $(tail -n 1 "$out/quick.txt")"
fi
if wants sweep; then
    start=$(seconds)
    "$build/seqmark" run --device 0 --db "$db" --label mixers --width 2048 --tokens 128k \
        --seqlen '512..128k*2' --dtype bf16 --window 0,2048 --provider cuda/portable \
        --op attention,selective_scan,ssd,retention,long_conv >"$out/mixers.txt" 2>&1 || status=1
    "$build/seqmark" run --device 0 --db "$db" --label blocks --width 2048 --tokens 128k \
        --seqlen '512..128k*2' --dtype bf16 --provider cuda/portable --family all \
        >"$out/blocks.txt" 2>&1 || status=1
    echo "sweep: $(($(seconds) - start)) s; $(tail -n 1 "$out/mixers.txt"); $(tail -n 1 "$out/blocks.txt")"
fi

"$build/seqmark" doctor >"$out/doctor.txt" 2>&1
cat >"$out/evidence.json" <<JSON
{
  "gpu": "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null)",
  "build": "$("$build/seqmark" --version 2>/dev/null)",
  "tests": "$(counts "$out/tests.txt")",
  "large": "$(counts "$out/large.txt")",
  "memcheck": "$(sanitizer_summary "$out/memcheck.txt"); $(counts "$out/memcheck.txt")",
  "quick": "$(tail -n 1 "$out/quick.txt" 2>/dev/null)",
  "sweep": "$(tail -qn 1 "$out/mixers.txt" "$out/blocks.txt" 2>/dev/null | paste -sd ';')",
  "status": $status
}
JSON
exit $status
