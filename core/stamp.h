/* stamp: what this binary was built from. Generated at build time; linked into executables only. */
#ifndef SQ_CORE_STAMP_H
#define SQ_CORE_STAMP_H

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *version, *git_commit; /* commit is empty outside a checkout */
    int is_dirty;
    const char *compiler, *nvcc, *flags; /* nvcc is empty in a CPU-only build */
    /* "code" of scripts/gpu_evidence.py; empty where there was no Python */
    const char *device_code;
} sq_stamp;

extern const sq_stamp sq_build_stamp;

#ifdef __cplusplus
}
#endif
#endif
