# lib.sh: what quickstart.sh and test.sh share. Sourced, not run.

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=$(nproc 2>/dev/null || echo 2)

# Debian/Ubuntu package behind each thing we need; the test is cheap, the package is asked for only when
# it fails.
missing_packages() {
    local need=()
    command -v gcc >/dev/null || need+=(gcc)
    command -v g++ >/dev/null || need+=(g++)
    command -v cmake >/dev/null || need+=(cmake)
    command -v ninja >/dev/null || need+=(ninja-build)
    command -v python3 >/dev/null || need+=(python3)
    command -v git >/dev/null || need+=(git)
    command -v gnuplot >/dev/null || need+=(gnuplot-nox)
    has_header sqlite3.h || need+=(libsqlite3-dev)
    has_header yaml.h || need+=(libyaml-dev)
    has_header jansson.h || need+=(libjansson-dev)
    if [ "${1:-}" = tests ]; then
        has_header cmocka.h || need+=(libcmocka-dev)
        has_browser || need+=(chromium)
    fi
    printf '%s\n' "${need[@]}"
}

has_header() {
    command -v gcc >/dev/null || return 1
    printf '#include <stdarg.h>\n#include <stddef.h>\n#include <setjmp.h>\n#include <stdint.h>\n#include <%s>\n' "$1" |
        gcc -E -x c - >/dev/null 2>&1
}

has_browser() {
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null ||
        command -v google-chrome >/dev/null
}

# A package manager run as root, directly or through sudo; empty when neither is possible.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else return 1; fi
}

# Ubuntu ships Chromium as a snap only: its absence skips the browser test and nothing else.
install_missing() {
    local packages optional=" gnuplot-nox chromium "
    mapfile -t packages < <(missing_packages "${1:-}" | sed '/^$/d')
    [ ${#packages[@]} -gt 0 ] || return 0
    say "missing: ${packages[*]}"
    command -v apt-get >/dev/null ||
        die "no apt-get here: install the equivalents of: ${packages[*]}"
    say "installing them with apt-get (root or sudo is used for this only)"
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get update -q >/dev/null ||
        die "apt-get update failed (no root, no sudo or no network); install: ${packages[*]}"
    local package
    for package in "${packages[@]}"; do
        as_root apt-get install -y -q --no-install-recommends "$package" >/dev/null && continue
        case "$optional" in
        *" $package "*) say "$package could not be installed; going on without it" ;;
        *) die "could not install $package" ;;
        esac
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

# Debian 12's cmake is 3.25: new enough. Older ones are refused here, with the reason.
configure_and_build() {
    local preset=$1
    if find_nvcc; then say "nvcc: $(command -v nvcc)"; else say "no nvcc: CPU-only build"; fi
    cmake -S "$root" --preset "$preset" >"$root/build/$preset.log" 2>&1 ||
        { tail -n 20 "$root/build/$preset.log" >&2; die "configure failed: build/$preset.log"; }
    cmake --build "$root/build/$preset" -j "$jobs" ${2:+--target "$2"}
}
