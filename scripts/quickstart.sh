#!/usr/bin/env bash
# quickstart.sh: from a fresh Debian 12 or Ubuntu 24.04 machine to a first report.
# Installs what is missing, builds, runs the quick suite on the best backend, renders the report.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
mkdir -p build out

install_missing ""
configure_and_build release programs

say "quick suite"
build/release/seqmark run --suite quick --db seqmark.db
say "report"
build/release/seqmark report --db seqmark.db --out out/report
echo "$root/out/report/index.html"
