#!/usr/bin/env python3
"""Who may include whom: the table of docs/architecture.md section 2, edge by edge.

usage: test_layers.py SOURCE_DIR BUILD_DIR

Reads every #include of core, kernels, models, profile, bench, db, reports and tests. An edge to a
module that the including one must not know fails, as do SQLite, CUDA and the file formats outside
their places. The script first proves on a planted tree that it finds what it should.
"""
import fnmatch
import pathlib
import re
import sys
import tempfile

FOLDERS = ["core", "kernels", "models", "profile", "bench", "db", "reports", "tests"]
SUFFIXES = {".c", ".h", ".cu", ".cuh", ".def"}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)

# Modules by the first pattern that matches a path. `*` crosses folders.
MODULES = [
    ("backend/cpu", "core/backend/cpu/*"),
    ("backend/cuda", "core/backend/cuda/*"),
    ("backend", "core/backend/*"),
    ("core", "core/*"),
    ("op", "kernels/op.h"),
    ("op", "kernels/fusion.h"),
    ("kernels", "kernels/*"),
    ("models", "models/*"),
    ("profile", "profile/*"),
    ("program", "bench/main.c"),
    ("program", "bench/cmd_*"),
    ("program", "bench/command.h"),
    ("program", "bench/commands.def"),
    ("time", "bench/time/*"),
    ("bench", "bench/*"),
    ("db", "db/*"),
    ("reports", "reports/*"),
    ("tests", "tests/*"),
]

# What a module may include besides itself.
EVERYTHING = {name for name, _ in MODULES} - {"tests"}
ALLOWED = {
    "core": set(),
    "backend": {"core"},
    "backend/cpu": {"core", "backend"},
    "backend/cuda": {"core", "backend"},
    "op": {"core", "kernels"},  # its registry is in the folder
    "kernels": {"core", "backend", "op"},
    "models": {"core", "op"},
    "profile": {"core", "backend"},
    "time": {"core", "backend", "profile"},
    "bench": {"core", "backend", "time", "op", "kernels", "models", "profile"},
    "db": {"core"},
    "reports": {"core", "db"},
    "program": EVERYTHING - {"backend/cuda"},
    "tests": EVERYTHING - {"backend/cuda"},
}

# System headers that have their places: (name, pattern of the header, patterns of the files).
OUTSIDE = [
    ("SQLite", r"sqlite3.*\.h", ["db/*", "reports/*", "bench/cmd_*", "bench/main.c", "tests/*"]),
    ("CUPTI", r"cupti.*\.h|nvperf.*\.h|generated_cuda.*\.h", ["profile/*"]),
    ("NVML", r"nvml\.h", ["profile/nvml*"]),
    ("NVTX", r"nvtx3/.*|nvToolsExt.*\.h", ["profile/nvtx*"]),
    ("CUDA", r"(cuda|cublas|cufft|cudnn|curand|cusparse|driver_types|vector_types|nvrtc)\w*\.h"
             r"|mma\.h|cooperative_groups.*|cuda/.*|cub/.*|thrust/.*|cute/.*|cutlass/.*",
     ["core/backend/cuda/*", "kernels/*.cu", "kernels/*.cuh", "profile/*",
      "bench/worker/worker_main.c"]),
    ("libyaml", r"yaml\.h", ["bench/*", "tests/*"]),
    ("jansson", r"jansson\.h", ["bench/*", "tests/*"]),
    ("cmocka", r"cmocka\.h", ["tests/*"]),
    ("GSL", r"gsl/.*", ["tests/oracle/*"]),  # GPL-3: it judges, and is linked into nothing else
]


def module_of(path):
    for name, pattern in MODULES:
        if fnmatch.fnmatchcase(path, pattern):
            return name
    return None


def strip_comments(text):
    return re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.DOTALL)


def files_of(source):
    for folder in FOLDERS:
        for path in sorted((source / folder).rglob("*")):
            if path.suffix in SUFFIXES and path.is_file():
                yield path.relative_to(source).as_posix()


def includes_of(source, path):
    """(line, quoted name or None, system name or None) of every #include of a file."""
    text = strip_comments((source / path).read_text(encoding="utf-8"))
    for match in INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start(0)) + 1, match.group(1), match.group(2)


def resolve(source, path, name):
    """Path of a quoted include in the tree, or None: from the root, else beside the file."""
    for candidate in (source / name, (source / path).parent / name):
        if candidate.is_file():
            return candidate.resolve().relative_to(source).as_posix()
    return None


def check_quoted(source, path, name):
    """Complaint about one quoted include, or None."""
    target = resolve(source, path, name)
    if target is None:
        return f'"{name}" is not in the tree (a system header is written <{name}>)'
    own, other = module_of(path), module_of(target)
    if other is None or not (other == own or other in ALLOWED[own]):
        return f'{own} must not include {other or "that folder"}: "{name}"'
    return None


def check_system(path, name):
    """Complaint about one <...> include, or None."""
    for what, header, places in OUTSIDE:
        if re.fullmatch(header, name):
            if any(fnmatch.fnmatchcase(path, place) for place in places):
                return None
            return f"{what} belongs to {', '.join(places)}: <{name}>"
    return None


def check_tree(source):
    """(files, edges, complaints) of a tree; a complaint is "path:line: text"."""
    files = edges = 0
    complaints = []
    for path in files_of(source):
        files += 1
        for line, quoted, system in includes_of(source, path):
            edges += 1
            text = check_quoted(source, path, quoted) if quoted else check_system(path, system)
            if text:
                complaints.append(f"{path}:{line}: {text}")
    return files, edges, complaints


GOOD = {
    "core/a.h": "#include <stdint.h>\n",
    "core/backend/backend.h": '#include "core/a.h"\n',
    "core/backend/cuda/cuda.c": '#include "core/backend/backend.h"\n#include <cuda_runtime_api.h>',
    "kernels/op.h": '/* #include "db/db.h" */\n#include "kernels/registry.def"\n',
    "kernels/registry.def": "",
    "kernels/ssd/ssd.h": '#include "kernels/op.h"\n',
    "kernels/ssd/ssd.cu": '#include "ssd.h"\n#include <mma.h>\n',
    "models/mamba.c": '#include "kernels/op.h"\n',
    "profile/cupti.c": "#include <cupti.h>\n",
    "bench/plan.h": '#include "kernels/ssd/ssd.h"\n',
    "bench/command.h": '#include "db/db.h"\n',
    "bench/time/loop.c": '#include "core/backend/backend.h"\n',
    "bench/cmd_show.c": '#include "db/db.h"\n#include "bench/plan.h"\n#include <sqlite3.h>\n',
    "db/db.h": "#include <sqlite3.h>\n",
    "reports/page.c": '#include "db/db.h"\n',
    "tests/unit/test_x.c": '#include "reports/page.h"\n#include <cmocka.h>\n',
    "reports/page.h": "",
}

BAD = {
    "core/bad1.c": '#include "core/backend/backend.h"\n',
    "core/bad2.c": '#include "kernels/op.h"\n',
    "core/backend/cuda/bad.c": '#include "kernels/op.h"\n',
    "kernels/bad1.c": '#include "bench/plan.h"\n',
    "bench/time/bad.c": '#include "bench/plan.h"\n',
    "kernels/ssd/bad2.c": "#include <cuda_runtime_api.h>\n",
    "models/bad.c": '#include "kernels/ssd/ssd.h"\n',
    "profile/bad.c": '  #  include "kernels/op.h"\n',
    "bench/bad1.c": '#include "db/db.h"\n',
    "bench/bad4.c": '#include "bench/command.h"\n',
    "bench/bad2.c": "#include <sqlite3.h>\n",
    "bench/bad3.c": '#include "bench/nowhere.h"\n',
    "bench/cmd_bad.c": "#include <cuda_runtime_api.h>\n",
    "db/bad.c": '#include "bench/plan.h"\n',
    "reports/bad.c": '#include "core/a.h"\n#include "models/mamba.c"\n',
    "tests/bad.c": "#include <cupti.h>\n",
    "tests/unit/bad.c": "#include <gsl/gsl_cdf.h>\n",
}


def self_test():
    """Every planted bad edge is found, once, and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder).resolve()
        for name, text in {**GOOD, **BAD}.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(text)
        complaints = check_tree(tree)[2]
    found = sorted(complaint.split(":")[0] for complaint in complaints)
    if found != sorted(BAD):
        sys.exit("self-test: planted " + ", ".join(sorted(BAD)) + "; found\n" +
                 "\n".join(complaints))


def main():
    source = pathlib.Path(sys.argv[1]).resolve()
    self_test()
    files, edges, complaints = check_tree(source)
    print(*complaints, sep="\n", end="\n" if complaints else "")
    print(f"{files} files, {edges} includes: {len(complaints)} against the rules; "
          f"{len(BAD)} planted ones found")
    return 1 if complaints or edges == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
