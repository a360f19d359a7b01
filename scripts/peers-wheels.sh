#!/usr/bin/env bash
# Puts the peers that are plain Python (fla, mamba-ssm's Triton kernels, einops) into a folder:
#   scripts/peers-wheels.sh [--build-scan] [--arch N] [FOLDER]      default out/peers, which git ignores
#   PYTHONPATH=FOLDER seqmark run --provider external:torch/fla ...
# Needs pip, setuptools, wheel, packaging and network; the folder may be carried to a machine without. PyTorch is not in it.
# Versions are fixed, so that two machines measure the same code; $SEQMARK_PIP is another pip.
#
# --build-scan adds mamba-ssm's CUDA selective scan, compiled for compute capability N (90: Hopper) alone, in bf16
# with a real A and with B and C that vary over time: minutes where all of it takes an hour. Needs nvcc of
# PyTorch's CUDA version, and as $SEQMARK_PYTHON (python3) the Python that will load it, with that PyTorch and with
# Python's headers; no GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

FLA=0.6.0
MAMBA=2.3.2.post1
EINOPS=0.8.2

fail() { echo "peers-wheels: $*" >&2; exit 1; }

folder=out/peers arch=90 is_scan_built=
while [ $# -gt 0 ]; do
    case $1 in
        --build-scan) is_scan_built=1 ;;
        --arch) arch=${2:?--arch needs a number}; shift ;;
        -*) fail "unknown option $1" ;;
        *) folder=$1 ;;
    esac
    shift
done
target=$(mkdir -p "$folder" && cd "$folder" && pwd)
read -ra pip <<<"${SEQMARK_PIP:-python3 -m pip}"
python=${SEQMARK_PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# --- the selective scan ---

# What is compiled with: include paths, library paths, the C++ ABI, the ending of a module's name, CUDA's version.
describe_torch() {
    "$python" - <<'PY'
import sysconfig
import torch
from torch.utils import cpp_extension
folders = dict.fromkeys([*cpp_extension.include_paths(), sysconfig.get_path("include"),
                         sysconfig.get_path("platinclude")])
print(*("-isystem " + folder for folder in folders))
print(*("-L" + folder for folder in cpp_extension.library_paths()))
print(int(torch._C._GLIBCXX_USE_CXX11_ABI))
print(sysconfig.get_config_var("EXT_SUFFIX"))
print((torch.version.cuda or "none").split(".")[0])
PY
}

# The instances that are wanted; what would have used another one says so. The kernels stay as they are.
narrow_scan() {
    sed -i '/complex_t>/d' selective_scan_fwd_bf16.cu
    sed -i 's/BOOL_SWITCH(params\.is_variable_/ALWAYS(params.is_variable_/' selective_scan_*_kernel.cuh
    sed -i 's/DISPATCH_ITYPE_FLOAT_AND_HALF_AND_BF16(u/DISPATCH_BF16(u/
            s/DISPATCH_WTYPE_FLOAT_AND_COMPLEX(A/DISPATCH_F32(A/' selective_scan.cpp
    cat >>static_switch.h <<'CPP'

#define ALWAYS(COND, NAME, ...) [&] { constexpr bool NAME = true; return __VA_ARGS__(); }()
CPP
    cat >>selective_scan.h <<'CPP'

#define DISPATCH_BF16(TYPE, NAME, ...)                                                              \
    TORCH_CHECK(is_variable_B && is_variable_C, NAME " was built for B and C that vary over time"); \
    TORCH_CHECK(TYPE == at::ScalarType::BFloat16, NAME " was built for bf16 alone");                \
    using input_t = at::BFloat16;                                                                   \
    __VA_ARGS__()
#define DISPATCH_F32(TYPE, NAME, ...)                                         \
    TORCH_CHECK(TYPE == at::ScalarType::Float, NAME " was built for a real A"); \
    using weight_t = float;                                                   \
    __VA_ARGS__()
CPP
}

# In the folder of its sources. The flags are those of mamba-ssm's setup.py.
build_scan() {
    local nvcc includes folders flags source jobs=() job
    nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null) || fail "no nvcc on PATH or in /usr/local/cuda"
    describe_torch >"$work/torch" || fail "$python has no PyTorch"
    mapfile -t torch <"$work/torch"
    "$nvcc" --version | grep -q "release ${torch[4]}\." || fail "$nvcc is not of CUDA ${torch[4]}, which PyTorch is of"
    read -ra includes <<<"${torch[0]}"
    read -ra folders <<<"${torch[1]}"
    flags=(-O3 -std=c++17 -Xcompiler -fPIC -gencode "arch=compute_$arch,code=sm_$arch" "${includes[@]}"
        -DTORCH_API_INCLUDE_EXTENSION_H -DTORCH_EXTENSION_NAME=selective_scan_cuda "-D_GLIBCXX_USE_CXX11_ABI=${torch[2]}"
        -U__CUDA_NO_HALF_OPERATORS__ -U__CUDA_NO_HALF_CONVERSIONS__ -U__CUDA_NO_BFLOAT16_OPERATORS__
        -U__CUDA_NO_BFLOAT16_CONVERSIONS__ -U__CUDA_NO_BFLOAT162_OPERATORS__ -U__CUDA_NO_BFLOAT162_CONVERSIONS__
        --expt-relaxed-constexpr --expt-extended-lambda --use_fast_math)
    narrow_scan
    for source in selective_scan.cpp selective_scan_fwd_bf16.cu selective_scan_bwd_bf16_real.cu; do
        "$nvcc" "${flags[@]}" -c "$source" -o "$source.o" &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do wait "$job"; done
    "$nvcc" -shared -cudart shared ./*.o "${folders[@]}" -lc10 -ltorch -ltorch_cpu -ltorch_python -lc10_cuda -ltorch_cuda \
        -Xlinker --allow-shlib-undefined -Xlinker --strip-all -o "$target/selective_scan_cuda${torch[3]}"
    PYTHONPATH="$target" "$python" -c 'import torch, selective_scan_cuda' || fail "the scan was built but cannot be imported"
}

# --- what is plain Python ---

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

[ -z "$is_scan_built" ] || (cd "$work"/mamba_ssm-*/csrc/selective_scan && build_scan)
echo "peers in $target: $(du -sh "$target" | cut -f1)"
