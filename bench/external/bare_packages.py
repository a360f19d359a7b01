"""Modules of a package without what the package's __init__ imports beside them: compiled extensions that
they do not need (mamba_ssm), all the other operators (fla.ops: half the seconds of its import)."""
import importlib
import importlib.util
import sys


def add_bare(package):
    """`package` as a module that only knows where its parts are; nothing where there is none."""
    spec = importlib.util.find_spec(package)  # imports the packages that it is in
    if not spec or package in sys.modules:
        return
    bare = sys.modules[package] = importlib.util.module_from_spec(spec)
    outer, _, name = package.rpartition(".")
    if outer:
        setattr(sys.modules[outer], name, bare)


def drop(package):
    for name in [n for n in sys.modules if n == package or n.startswith(package + ".")]:
        del sys.modules[name]


def import_alone(package, path):
    """Module `path` of `package`: without its __init__, or, where it cannot do without, with it."""
    try:
        if package not in sys.modules:
            add_bare(package)
        return importlib.import_module(path)
    except ImportError as error:
        drop(package)
        try:
            return importlib.import_module(path)
        except ImportError:
            raise error from None
