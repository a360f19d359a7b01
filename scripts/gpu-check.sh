#!/usr/bin/env bash
# gpu-check.sh: everything that needs a GPU and that CI therefore cannot run, from a built tree: the GPU
# tests, cost() against counters, golden data, fuzz and tensors beyond 2^31 elements on every CUDA provider,
# and the op tests under compute-sanitizer. Writes evidence.json, to be committed as tests/gpu/evidence.json,
# beside the logs.
# Usage: scripts/gpu-check.sh BUILD_DIR OUT_DIR [--changed] [PART...]
#   BUILD_DIR   a build folder, or what was taken from one: tests/test_gpu_*, and seqmark or bin/seqmark
#   --changed   only operators whose code is not that of tests/gpu/evidence.json, without large, the tests
#               that measure, and all sanitizers but memcheck
#   PART        tests costs golden fuzz large sanitizers (default: all six); of the tests alone: measuring; of
#               the sanitizers: racecheck memcheck initcheck synccheck; quick sweep: the suites, timed
# What an earlier call into OUT_DIR found of the same code stays: parts may be run one after the other.
# Ends within 9 minutes, with --changed 3 ($GPU_CHECK_SECONDS: others): what is left then is stopped, and the
# evidence names it. Nothing is compiled; a worker that was built from other kernels than the tree's is refused.
#
# What measures runs alone. All else runs side by side, since the driver and the references keep a core busy
# and the GPU idle: first what is proved, a process for two cores, then what a sanitizer watches. These
# not beside each other: a sanitizer's kernels take long. What takes long begins first. An operator of many cases is
# several processes: of the tests by pass, under a sanitizer by type. Shapes beyond 2^31 elements are one process, for
# there is room for one of them at a time.
# Side by side they share the GPU through the driver's MPS where that can be started: processes without it take turns
# of milliseconds each, and eight of them took 3 to 5 times as long.
# racecheck, and memcheck with --changed, take every small shape once, with types and layouts in turn: hazards are a
# matter of which kernel runs, not of where its rows lie.
set -uo pipefail
usage="usage: gpu-check.sh BUILD_DIR OUT_DIR [--changed] [PART...]"
build=$(cd "${1:?$usage}" && pwd) || exit 1
mkdir -p "${2:?$usage}"
out=$(cd "$2" && pwd)
shift 2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
evidence="python3 $root/scripts/gpu_evidence.py"
limit=530 scope=all fuzz=2400 tools="racecheck:--races memcheck:--small initcheck:--small synccheck:--small"
if [ "${1:-}" = --changed ]; then
    shift
    limit=170 scope=changed fuzz=400 tools="memcheck:--once"
fi
limit=${GPU_CHECK_SECONDS:-$limit}
parts=" ${*:-tests costs golden fuzz large sanitizers} "
work=$(mktemp -d) || exit 1
trap 'share_no_more; rm -rf "$work"' EXIT
shared=
# A daemon of our own, which its folder names; no setting of the GPU changes.
mps() { CUDA_MPS_PIPE_DIRECTORY=$work/mps CUDA_MPS_LOG_DIRECTORY=$work/mps nvidia-cuda-mps-control "$@"; }
share_gpu() {
    mkdir "$work/mps"
    if command -v nvidia-cuda-mps-control >/dev/null && mps -d 2>/dev/null; then
        shared=$work/mps
    else
        say "no MPS: processes take turns on the GPU"
    fi
}
share_no_more() {
    [ -z "$shared" ] || echo quit | mps >/dev/null 2>&1
    shared=
}
export OMP_WAIT_POLICY=passive build work
seqmark="$build/seqmark"
[ -x "$seqmark" ] || seqmark="$build/bin/seqmark"
ops_test="$build/tests/test_gpu_ops"
$evidence built "$root" "$seqmark" || exit 1

# Three processes on four cores: four take longer for all of them. One under a sanitizer takes up to 4 GB. nproc
# would count threads of OpenMP where there is a word on them.
jobs=$(($(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc) * 3 / 4))
memory=$(awk '/^MemAvailable/ { print int($2 / 4194304) }' /proc/meminfo)
[ "$jobs" -le "$memory" ] || jobs=$memory
[ "$jobs" -ge 1 ] || jobs=1
pairs=$(((jobs * 2 + 2) / 3))

operators=$($evidence operators "$root" "$scope") || exit 1
[ -n "$operators" ] || echo "no operator has changed since tests/gpu/evidence.json"
families=$(sed -n 's/^SQ_FAMILY(\([a-z0-9_]*\)).*/\1/p' "$root/models/registry.def")

wants() { # PART...: any of them
    local part
    for part; do
        case "$parts" in *" $part "*) return 0 ;; esac
    done
    return 1
}
left() { echo $((limit > SECONDS ? limit - SECONDS : 1)); }
say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

# TITLE JOBS [THREADS]: runs lines "NAME COMMAND...", JOBS at a time with THREADS (all) each; the output of
# each is a file called NAME, its last line "exit CODE SECONDS". "plan" lists them all, for those that the
# time was too short for.
run_all() {
    say "$1"
    [ $# -lt 3 ] || local -x OMP_NUM_THREADS=$3
    [ -z "$shared" ] || local -x CUDA_MPS_PIPE_DIRECTORY=$shared
    tee "$work/lines" >>"$work/plan"
    # shellcheck disable=SC2016
    timeout --kill-after=5 "$(left)" xargs -P "$2" -d '\n' -I{} bash -c \
        'set -- {}; name=$1; shift; "$@" >"$work/$name" 2>&1; echo "exit $? $SECONDS" >>"$work/$name"' \
        <"$work/lines"
}

{
    if wants tests measuring && [ "$scope" = all ]; then
        for name in measure probes profile; do echo "tests.$name $build/tests/test_gpu_$name"; done
    fi
    if wants costs && [ -n "$operators" ]; then
        echo "costs.all timeout 120 $build/tests/test_gpu_costs $operators"
    fi
} | run_all "tests that measure, one by one" 1
share_gpu
{
    count=$(wc -w <<<"$operators")
    if wants large && [ "$scope" = all ]; then
        echo "large.all $ops_test --large"
        # shellcheck disable=SC2086
        $evidence cases "$root" --long $operators | while read -r name arguments; do
            echo "large.$name $ops_test $arguments"
        done
    fi
    if wants golden; then
        for dtype in bf16 f16 f32; do
            echo "golden.$dtype $seqmark verify $root/tests/golden/data --device 0 --dtype $dtype -o jsonl"
        done
    fi
    if wants fuzz; then
        for name in $operators; do # a thousand for the provider whose kernels are the most intricate
            case $name in ssd | simple_gla | retention) ;; *) continue ;; esac
            echo "fuzz.$name-native $seqmark verify --fuzz $((fuzz / 7)) --op $name --provider cuda/native" \
                "--device 0 -o jsonl"
        done
    fi
    if wants tests; then
        # shellcheck disable=SC2086
        $evidence cases "$root" all $operators | while read -r name arguments; do
            echo "tests.$name $ops_test $arguments"
        done
        [ -n "$operators" ] && for name in $families; do
            echo "tests.$name $ops_test $name"
        done
        if [ "$scope" = all ]; then
            echo "tests.backend $ops_test --backend"
            for name in hopper chain; do echo "tests.$name $build/tests/test_gpu_$name"; done
        fi
    fi
    if wants fuzz; then
        for name in $operators; do
            echo "fuzz.$name $seqmark verify --fuzz $((fuzz / count + 1)) --op $name --device 0 -o jsonl"
        done
    fi
} | run_all "operators, blocks, golden data, fuzz, long and large: $pairs at a time" "$pairs" 2
if wants sanitizers racecheck memcheck initcheck synccheck; then
    for tool in $tools; do
        wants sanitizers "${tool%:*}" || continue
        # API errors are the tests' own business: one of them asks for more memory than there is. Each
        # sanitizer takes a port of its own; ten are all that it looks for otherwise.
        # shellcheck disable=SC2086
        $evidence cases "$root" "${tool#*:}" $operators | while read -r name arguments; do
            echo "${tool%:*}.$name compute-sanitizer --tool ${tool%:*}" \
                "--report-api-errors no --error-exitcode 3 --print-limit 20 --max-connections 64" \
                "--launch-timeout 120 $ops_test $arguments"
        done
    done | run_all "compute-sanitizer: $jobs at a time" "$jobs" 1
fi
share_no_more
if wants quick; then
    echo "suite.quick $seqmark run --suite quick --device 0 --db $out/gpu.db --label quick" |
        run_all "quick suite" 1
fi
if wants sweep; then
    sweep="$seqmark run --device 0 --db $out/gpu.db --width 2048 --tokens 128k --seqlen 512..128k*2"
    sweep="$sweep --dtype bf16 --provider cuda/portable"
    {
        echo "suite.mixers $sweep --label mixers --window 0,2048" \
            "--op attention,selective_scan,ssd,retention,long_conv"
        echo "suite.blocks $sweep --label blocks --family all"
    } | run_all "length sweep" 1
fi
for kind in tests costs golden fuzz large memcheck initcheck synccheck racecheck suite; do
    for file in "$work/$kind".*; do
        [ -e "$file" ] && { echo "== ${file##*/}"; cat "$file"; }
    done
done >"$out/log.txt" 2>/dev/null
say "done"
$evidence write "$root" "$seqmark" "$work" "$scope" "$SECONDS" "$out/evidence.json" >"$work/evidence.json"
status=$?
mv "$work/evidence.json" "$out/evidence.json"
$evidence summary "$out/evidence.json"
exit $status
