/* s4_scan: positions of its axes and tensors, and its parts, for the files of this folder alone. */
#ifndef SQ_KERNELS_S4_SCAN_S4_SCAN_H
#define SQ_KERNELS_S4_SCAN_S4_SCAN_H

#include "kernels/op.h"
#include "kernels/shared/ssm_op.h"

enum {
    AXIS_B,
    AXIS_L,
    AXIS_D,
    AXIS_N,
    AXIS_R,
    AXIS_S,
    AXIS_DISC,
    AXIS_CONJUGATE,
    AXIS_INITIAL,
    AXIS_FINAL
};
enum { IN_U, IN_LOG_DT, IN_A_REAL, IN_A_IMAG, IN_GAIN, IN_P, IN_C, IN_SKIP, IN_INITIAL, IN_COUNT };
enum { OUT_Y, OUT_FINAL, OUT_COUNT };
enum { IN_DY = IN_COUNT, IN_DFINAL }; /* of pass bwd */
enum { MAX_RANK = 2 };

/* A mode of a channel. step: of the diagonal part alone. r = 1 / (1 - dt a / 2). */
typedef struct {
    sq_c64 a, b, c, p[MAX_RANK], r;
    sq_ssm_mode step;
} sq_s4_scan_mode;

/* (1 + dt/2 p* r p)^-1: real, since the modes come with their conjugates. */
typedef struct {
    double at[MAX_RANK][MAX_RANK];
} sq_s4_scan_correction;

/* Of m = 1 + dt/2 gram, in the first `rank` rows; the rest of gram is 0. */
SQ_C64_FN sq_s4_scan_correction sq_s4_scan_invert(const sq_s4_scan_correction *gram, double half_dt)
{
    const double a = 1 + half_dt * gram->at[0][0], b = half_dt * gram->at[0][1];
    const double c = half_dt * gram->at[1][0], d = 1 + half_dt * gram->at[1][1];
    const double over = 1 / (a * d - b * c);
    sq_s4_scan_correction out;
    out.at[0][0] = d * over;
    out.at[0][1] = -b * over;
    out.at[1][0] = -c * over;
    out.at[1][1] = a * over;
    return out;
}

/* 2 Re(conj(p) x): what a mode and its conjugate add to p* x. */
SQ_C64_FN double sq_s4_scan_dot(sq_c64 p, sq_c64 x)
{
    return 2 * (p.re * x.re + p.im * x.im);
}

#ifdef __cplusplus
extern "C" {
#endif

/* One channel: its modes, what they share, and the state. */
typedef struct {
    const sq_call *call;
    int64_t d, modes;
    int rank;
    double dt, skip;
    sq_s4_scan_mode *mode;
    sq_s4_scan_correction gram, inverse;
} sq_s4_scan_channel;

void sq_s4_scan_channel_read(const sq_call *call, int64_t d, sq_s4_scan_mode *mode,
                             sq_s4_scan_channel *out);
/* next = the state after x and input u; they may be the same. */
void sq_s4_scan_step(const sq_s4_scan_channel *p, double u, const sq_c64 *x, sq_c64 *next);

/* s4_scan_bwd.c: the reference of pass bwd. */
sq_status sq_s4_scan_backward(const sq_call *call, sq_error *err);

#ifdef __cplusplus
}
#endif

#endif
