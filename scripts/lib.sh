# shellcheck shell=bash
# lib.sh: what quickstart.sh and test.sh share. Sourced, not run.

say() { printf '\033[1m==>\033[0m %s (%d s)\n' "$*" "$SECONDS" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=$(nproc 2>/dev/null || echo 2)

# What is asked for on Debian and Ubuntu, as "what:package" rows; a package is wanted only where its
# program or header is missing. Without gnuplot a report has no figures; without Chromium the page's own
# test skips (Ubuntu has it as a snap only), without GSL the comparison of statistics with it. None stops
# anything.
programs=(gcc:gcc g++:g++ cmake:cmake ninja:ninja-build)
headers=(sqlite3.h:libsqlite3-dev yaml.h:libyaml-dev jansson.h:libjansson-dev)
test_programs=(python3:python3)
test_headers=(cmocka.h:libcmocka-dev)

missing_packages() {
    local row
    for row in "${programs[@]}" ${1:+"${test_programs[@]}"}; do
        command -v "${row%:*}" >/dev/null || echo "${row#*:}"
    done
    for row in "${headers[@]}" ${1:+"${test_headers[@]}"}; do
        has_header "${row%:*}" || echo "${row#*:}"
    done
}

missing_extras() {
    command -v gnuplot >/dev/null || echo gnuplot-nox
    [ -z "${1:-}" ] || is_ubuntu || has_browser || echo chromium
    [ -z "${1:-}" ] || has_header gsl/gsl_cdf.h || echo libgsl-dev
}

has_header() {
    local header
    command -v gcc >/dev/null || return 1
    for header in stdarg.h stddef.h setjmp.h stdint.h "$1"; do
        printf '#include <%s>\n' "$header"
    done | gcc -E -x c - >/dev/null 2>&1
}

# One that answers: Ubuntu's package is a script that asks for the snap.
has_browser() {
    local program
    for program in chromium chromium-browser google-chrome; do
        command -v "$program" >/dev/null && timeout 30 "$program" --version >/dev/null 2>&1 && return 0
    done
    return 1
}

is_ubuntu() { grep -qs '^ID=ubuntu' /etc/os-release; }

can_install() {
    command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }
}

# Root for this one command: directly or through sudo, which may ask for a password at a terminal only.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif [ -t 0 ]; then sudo "$@"; else sudo -n "$@"; fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" \
        >>"$root/build/apt.log" 2>&1 </dev/null
}

# install_missing [tests]: what the build, or the tests too, need and this machine lacks.
install_missing() {
    local packages extras package
    mapfile -t packages < <(missing_packages "${1:-}")
    mapfile -t extras < <(missing_extras "${1:-}")
    [ $((${#packages[@]} + ${#extras[@]})) -gt 0 ] || return 0
    if ! can_install; then
        [ ${#packages[@]} = 0 ] ||
            die "missing packages: ${packages[*]}; install them, or run this as root or with sudo"
        say "going on without: ${extras[*]}"
        return 0
    fi
    say "installing with apt-get: ${packages[*]} ${extras[*]} (log: build/apt.log)"
    : >"$root/build/apt.log"
    apt_get update || say "apt-get update failed; trying with the package lists there are"
    if [ ${#packages[@]} -gt 0 ]; then
        apt_get install -y --no-install-recommends "${packages[@]}" || {
            tail -n 5 "$root/build/apt.log" >&2
            die "apt-get could not install: ${packages[*]}"
        }
    fi
    for package in "${extras[@]}"; do
        apt_get install -y --no-install-recommends "$package" || say "going on without $package"
    done
}

# nvcc where the toolkit puts it, though not on PATH.
find_nvcc() {
    command -v nvcc >/dev/null && return 0
    local dir
    for dir in /usr/local/cuda/bin /usr/local/cuda-13*/bin; do
        [ -x "$dir/nvcc" ] && { export PATH="$dir:$PATH"; return 0; }
    done
    return 1
}

have_cmake() { printf '3.25\n%s\n' "$(cmake --version | sed -n '1s/.* //p')" | sort -VC; }

# configure_and_build PRESET [TARGET]
configure_and_build() {
    local preset=$1 log=$root/build/$1.log
    find_nvcc || true
    have_cmake || die "cmake 3.25 or newer is needed; this is $(cmake --version | head -n 1)"
    cmake -S "$root" --preset "$preset" >"$log" 2>&1 ||
        { tail -n 20 "$log" >&2; die "configure failed: build/$preset.log"; }
    sed -n 's/^-- seqmark: //p' "$log" | while read -r line; do say "$preset: $line"; done
    cmake --build "$root/build/$preset" -j "$jobs" ${2:+--target "$2"}
}
