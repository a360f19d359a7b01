#!/usr/bin/env bash
# Puts the peers that are plain Python (fla, mamba-ssm's Triton kernels, einops) into a folder:
#   scripts/peers-wheels.sh [FOLDER]        default out/peers, which git ignores
#   PYTHONPATH=FOLDER seqmark run --provider external:torch/fla ...
# Needs pip, setuptools, wheel, packaging and network; the folder may be carried to a machine without. PyTorch is not in it.
# Versions are fixed, so that two machines measure the same code; $SEQMARK_PIP is another pip.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

FLA=0.6.0
MAMBA=2.3.2.post1
EINOPS=0.8.2

target=$(mkdir -p "${1:-out/peers}" && cd "${1:-out/peers}" && pwd)
read -ra pip <<<"${SEQMARK_PIP:-python3 -m pip}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${pip[@]}" install --quiet --no-deps --no-compile --upgrade --target "$target" \
    "fla-core==$FLA" "einops==$EINOPS"

# mamba-ssm comes as source only, and its set-up wants PyTorch even to be downloaded: an empty stand-in
# of the names that it looks at is enough, for nothing is built.
mkdir -p "$work/stub/torch/utils"
cat >"$work/stub/torch/__init__.py" <<'PY'
__version__ = "0.0"
class version:
    cuda = hip = None
PY
touch "$work/stub/torch/utils/__init__.py"
cat >"$work/stub/torch/utils/cpp_extension.py" <<'PY'
CUDA_HOME = HIP_HOME = ROCM_HOME = None
BuildExtension = CppExtension = CUDAExtension = object
PY
PYTHONPATH="$work/stub" MAMBA_SKIP_CUDA_BUILD=TRUE "${pip[@]}" download --quiet --no-deps \
    --no-build-isolation --no-binary mamba-ssm -d "$work" "mamba-ssm==$MAMBA"
tar -xzf "$work"/mamba_ssm-*.tar.gz -C "$work"
rm -rf "$target"/mamba_ssm*
cp -r "$work"/mamba_ssm-*/mamba_ssm "$work"/mamba_ssm-*/mamba_ssm.egg-info "$target"
cp "$work"/mamba_ssm-*/LICENSE "$target/mamba_ssm"

echo "peers in $target: $(du -sh "$target" | cut -f1)"
