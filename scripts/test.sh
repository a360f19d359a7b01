#!/usr/bin/env bash
# test.sh: the same set-up as quickstart.sh, then every test, in the release and the sanitizer build.
# Usage: scripts/test.sh [--fast]    --fast leaves the sanitizer build out.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
mkdir -p build

install_missing tests
configure_and_build release
if [ "${1:-}" != --fast ]; then
    configure_and_build dev
    say "tests under ASan and UBSan (CPU)"
    ctest --preset dev --no-tests=error -j "$jobs" -LE 'headers|layers'
fi
say "tests (release)"
ctest --preset release --no-tests=error -j "$jobs"
