#!/usr/bin/env bash
# gpu-check.sh: everything that needs a GPU and that CI therefore cannot run, from a built tree: the GPU
# tests, golden data, fuzz and tensors beyond 2^31 elements on every CUDA provider, and the op tests under
# compute-sanitizer. Writes evidence.json, to be committed as tests/gpu/evidence.json, beside the logs.
# Usage: scripts/gpu-check.sh BUILD_DIR OUT_DIR [--changed] [PART...]
#   --changed   only operators whose code is not that of tests/gpu/evidence.json, without large and racecheck
#   PART        tests golden fuzz large sanitizers (default: all five); quick sweep: the suites, timed
# Ends within 9 minutes, with --changed 3: what is left then is stopped, and the evidence says so.
set -uo pipefail
build=$(cd "${1:?usage: gpu-check.sh BUILD_DIR OUT_DIR [--changed] [PART...]}" && pwd) || exit 1
mkdir -p "${2:?usage: gpu-check.sh BUILD_DIR OUT_DIR [--changed] [PART...]}"
out=$(cd "$2" && pwd)
shift 2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
evidence="python3 $root/scripts/gpu_evidence.py"
limit=530 scope=all fuzz=2400 tools="memcheck initcheck synccheck racecheck"
if [ "${1:-}" = --changed ]; then
    shift
    limit=170 scope=changed fuzz=400 tools="memcheck"
fi
parts=" ${*:-tests golden fuzz large sanitizers} "
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive build work
jobs=$((($(nproc) + 1) / 2))

operators=$($evidence operators "$root" "$scope") || exit 1
[ -n "$operators" ] || echo "no operator has changed since tests/gpu/evidence.json"
families=$(sed -n 's/^SQ_FAMILY(\([a-z0-9_]*\)).*/\1/p' "$root/models/registry.def")

wants() { case "$parts" in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
left() { echo $((limit > SECONDS ? limit - SECONDS : 1)); }
say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

# Runs lines "NAME COMMAND...", several at a time; the output of each is a file called NAME, its last line
# "exit CODE".
run_all() {
    say "$1"
    # shellcheck disable=SC2016
    timeout --kill-after=5 "$(left)" xargs -P "$2" -d '\n' -I{} bash -c \
        'set -- {}; name=$1; shift; "$@" >"$work/$name" 2>&1; echo "exit $?" >>"$work/$name"'
}

ops_test="$build/tests/test_gpu_ops"
if wants tests && [ "$scope" = all ]; then
    for name in measure probes profile; do
        echo "tests.$name $build/tests/test_gpu_$name"
    done | run_all "tests that measure, one by one" 1
fi
{
    if wants tests; then
        [ "$scope" = all ] && echo "tests.backend $ops_test --backend"
        for name in $operators; do echo "tests.$name $ops_test $name"; done
        [ -n "$operators" ] && for name in $families; do echo "tests.$name $ops_test $name"; done
    fi
    if wants golden; then
        for dtype in f32 bf16 f16; do
            echo "golden.$dtype $build/seqmark verify $root/tests/golden/data --device 0 --dtype $dtype -o jsonl"
        done
    fi
    if wants fuzz; then
        count=$(wc -w <<<"$operators")
        for name in $operators; do
            echo "fuzz.$name $build/seqmark verify --fuzz $((fuzz / count + 1)) --op $name --device 0 -o jsonl"
        done
    fi
} >"$work/list"
run_all "operators, blocks, golden data, fuzz" "$jobs" <"$work/list"
if wants large && [ "$scope" = all ]; then
    echo "large.all $ops_test --large" | run_all "beyond 2^31 elements" 1
fi
if wants sanitizers; then
    for tool in $tools; do
        for name in $operators; do
            # API errors are the tests' own business: one of them asks for more memory than there is.
            echo "$tool.$name compute-sanitizer --tool $tool --report-api-errors no --error-exitcode 3" \
                "--print-limit 20 $ops_test $name --small"
        done
    done | run_all "compute-sanitizer" "$jobs"
fi
if wants quick; then
    echo "suite.quick $build/seqmark run --suite quick --device 0 --db $out/gpu.db --label quick" |
        run_all "quick suite" 1
fi
if wants sweep; then
    sweep="$build/seqmark run --device 0 --db $out/gpu.db --width 2048 --tokens 128k --seqlen 512..128k*2"
    sweep="$sweep --dtype bf16 --provider cuda/portable"
    {
        echo "suite.mixers $sweep --label mixers --window 0,2048" \
            "--op attention,selective_scan,ssd,retention,long_conv"
        echo "suite.blocks $sweep --label blocks --family all"
    } | run_all "length sweep" 1
fi
for kind in tests golden fuzz large memcheck initcheck synccheck racecheck suite; do
    for file in "$work/$kind".*; do
        [ -e "$file" ] && { echo "== ${file##*/}"; cat "$file"; }
    done >>"$work/log" 2>/dev/null
done
cp "$work/log" "$out/log.txt"
say "done"
$evidence write "$root" "$build" "$work" "$scope" "$SECONDS" >"$out/evidence.json"
status=$?
$evidence summary "$out/evidence.json"
exit $status
