#!/usr/bin/env python3
"""Every header of the tree compiles alone, as C11 and as C++17, without a warning.

usage: test_headers.py SOURCE_DIR BUILD_DIR

Each header is included twice by an otherwise empty file, so that a missing guard fails too. Headers
that need CUDA's own are compiled where the toolkit is and listed as skipped where it is not.
"""
import concurrent.futures
import pathlib
import re
import subprocess
import sys
import tempfile

FLAGS = ["-Wall", "-Wextra", "-Werror", "-fsyntax-only",
         "-D_POSIX_C_SOURCE=200809L", "-D_DEFAULT_SOURCE"]
LANGUAGES = {"C11": ("CMAKE_C_COMPILER", "cc", ["-x", "c", "-std=c11"]),
             "C++17": ("CMAKE_CXX_COMPILER", "c++", ["-x", "c++", "-std=c++17"])}
NOT_SOURCE = {"build", "out", ".git"}
CUDA_HEADER = re.compile(r"fatal error: ((cuda|cublas|cufft|cupti|cudnn)\w*|nvtx3/\w+|nvml)\.h: "
                         r"No such file")


def cached(build, name):
    """Value of a CMake cache entry, or "" where there is none."""
    cache = build / "CMakeCache.txt"
    text = cache.read_text() if cache.exists() else ""
    found = re.search(rf"^{re.escape(name)}:\w+=(.*)$", text, re.MULTILINE)
    return found.group(1) if found and not found.group(1).endswith("NOTFOUND") else ""


def headers_of(source):
    return [path for path in sorted(source.rglob("*.h"))
            if not NOT_SOURCE & set(path.relative_to(source).parts[:-1])]


def includes(build):
    """System folders: where CMake found the dependencies, and the toolkit where it is."""
    names = ["sq_sqlite_INCLUDE", "sq_yaml_INCLUDE", "sq_jansson_INCLUDE", "sq_cmocka_INCLUDE",
             "SQ_CUPTI_INCLUDE"]
    folders = {cached(build, name) for name in names} - {"", "/usr/include"}
    toolkit = pathlib.Path("/usr/local/cuda/include")
    folders |= {str(toolkit)} if toolkit.is_dir() else set()
    return [flag for folder in sorted(folders) for flag in ("-isystem", folder)]


def compile_alone(source, build, header, language):
    """The compiler's complaints about one header in one language; "" where it has none."""
    entry, otherwise, flags = LANGUAGES[language]
    compiler = cached(build, entry) or otherwise
    name = header.relative_to(source)
    command = [compiler, *flags, *FLAGS, "-I", str(source), *includes(build), "-"]
    done = subprocess.run(command, input=f'#include "{name}"\n#include "{name}"\n', text=True,
                          capture_output=True, timeout=120)
    return "" if done.returncode == 0 else done.stderr or f"exit {done.returncode}"


def check_tree(source, build):
    """(headers, complaints, skipped) of a tree."""
    headers = headers_of(source)
    jobs = [(header, language) for header in headers for language in LANGUAGES]
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(lambda job: compile_alone(source, build, *job), jobs))
    complaints, skipped = [], []
    for (header, language), text in zip(jobs, results):
        if text:
            where = f"{header.relative_to(source)} as {language}"
            (skipped if CUDA_HEADER.search(text) else complaints).append((where, text))
    return headers, complaints, skipped


def self_test(build):
    """Planted faults are found: an undeclared type, a missing guard, C that is no C++."""
    planted = {"good.h": "#ifndef G\n#define G\ntypedef int good;\n#endif\n",
               "alone.h": "#ifndef A\n#define A\nvoid f(size_t n);\n#endif\n",
               "guard.h": "struct s { int x; };\n",
               "cxx.h": "#ifndef C\n#define C\nstruct s { int class; };\n#endif\n"}
    want = {"alone.h as C11", "alone.h as C++17", "guard.h as C11", "guard.h as C++17",
            "cxx.h as C++17"}
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder)
        for name, text in planted.items():
            (tree / name).write_text(text)
        found = {where for where, _ in check_tree(tree, build)[1]}
    if found != want:
        sys.exit(f"self-test: found {sorted(found)}, planted {sorted(want)}")


def main():
    source, build = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    self_test(build)
    headers, complaints, skipped = check_tree(source, build)
    for where, text in complaints:
        print(f"{where}:\n{text}")
    for where, text in skipped:
        print(f"skipped {where}: {CUDA_HEADER.search(text).group(0)}")
    print(f"{len(headers)} headers as {' and '.join(LANGUAGES)}: {len(complaints)} complaints, "
          f"{len(skipped)} skipped; 5 planted faults found")
    return 1 if complaints or not headers else 0


if __name__ == "__main__":
    sys.exit(main())
