"""libseqmark_time.so (bench/time/seqmark_time.h) as Python sees it: its structs, its callback, and a
library loaded with the types of what it returns."""
import ctypes

ABI = 2


class Policy(ctypes.Structure):
    _fields_ = [("warmup_launches", ctypes.c_int), ("warmup_seconds", ctypes.c_double),
                ("min_samples", ctypes.c_int), ("max_samples", ctypes.c_int),
                ("max_seconds", ctypes.c_double), ("target_interval", ctypes.c_double),
                ("max_launch_seconds", ctypes.c_double), ("rest", ctypes.c_double)]


class Result(ctypes.Structure):
    _fields_ = [("n", ctypes.c_int), ("n_dropped", ctypes.c_int), ("n_late", ctypes.c_int),
                ("n_unheld", ctypes.c_int), ("batch", ctypes.c_int),
                ("warmup_launches", ctypes.c_int), ("warmup_drift", ctypes.c_double),
                ("sm_mhz", ctypes.c_double), ("launch_seconds", ctypes.c_double),
                ("is_too_long", ctypes.c_int), ("drop_reason", ctypes.c_char * 96)]


LAUNCH = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)


def load(path):
    """The library at `path`; OSError where it cannot be loaded or has another ABI."""
    library = ctypes.CDLL(path)
    if library.sqt_abi() != ABI:
        raise OSError(f"{path} has ABI {library.sqt_abi()}, not {ABI}")
    library.sqt_message.restype = ctypes.c_char_p
    library.sqt_message.argtypes = [ctypes.c_void_p]
    library.sqt_stream.restype = ctypes.c_void_p
    library.sqt_stream.argtypes = [ctypes.c_void_p]
    library.sqt_close.argtypes = [ctypes.c_void_p]
    library.sqt_fill.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64,
                                 ctypes.c_char_p, ctypes.c_uint64, ctypes.c_uint32]
    library.sqt_measure.argtypes = [ctypes.c_void_p, ctypes.POINTER(Policy), ctypes.c_char_p,
                                    ctypes.c_char_p, ctypes.c_int, LAUNCH, ctypes.c_void_p,
                                    ctypes.POINTER(ctypes.c_int32), ctypes.POINTER(Result)]
    return library
