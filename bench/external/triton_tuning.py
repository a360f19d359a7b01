"""Keeps what Triton's autotuner finds, so that a process need not find it again: in Triton's cache folder
($TRITON_CACHE_DIR), by Triton's own code and under its own keys.

Triton keeps results where $TRITON_CACHE_AUTOTUNING asks for it, but of no kernel whose configurations
have a hook that runs before a launch (those of mamba-ssm's backward pass clear their sums in one), since
a hook cannot be written to a file. It need not be: the configurations of this process have theirs.
"""
import copy
import functools
import os


def without_hook(config):
    bare = copy.copy(config)
    bare.pre_hook = None
    return bare


def keeping(check_disk_cache):
    """Autotuner.check_disk_cache for configurations with hooks, too."""

    @functools.wraps(check_disk_cache)
    def check(tuner, key, configs, bench):
        if not any(config.pre_hook for config in configs):
            return check_disk_cache(tuner, key, configs, bench)

        def bench_and_strip():
            bench()
            tuner.configs_timings = {without_hook(config): timing
                                     for config, timing in tuner.configs_timings.items()}

        found = check_disk_cache(tuner, key, [without_hook(c) for c in configs], bench_and_strip)
        best = without_hook(tuner.cache[key])
        tuner.cache[key] = next(config for config in configs if without_hook(config) == best)
        return found

    return check


@functools.cache
def keep_all():
    """From now on, in this process, of kernels whose modules are imported later. Without effect where
    there is no Triton or it has no such cache."""
    os.environ.setdefault("TRITON_CACHE_AUTOTUNING", "1")
    try:
        from triton.runtime.autotuner import Autotuner
    except ImportError:
        return
    if hasattr(Autotuner, "check_disk_cache"):
        Autotuner.check_disk_cache = keeping(Autotuner.check_disk_cache)
