/* cost_cases: see cost_cases.h. */
#include "tests/support/cost_cases.h"

#include <stddef.h>

#define FWD SQ_PASS_FWD
#define BWD SQ_PASS_BWD
#define STEP SQ_PASS_STEP
#define TOKENS "B=16,L=4096,"
#define NORM "B=32,L=4096,D=2048"
#define HEADS "B=32,L=4096,H=16,D=128"
#define CHUNK_STATES "states of all chunks are written and read"
#define CHUNK_SCORES "products inside chunks"
#define SCORE_SUMS "q and k are read for the sums of scores, too"
#define TWICE "each of its two kernels reads q, k, v and dO, and does S and dP"
#define SCRATCH "rows of f32 for the transforms go through scratch"

/* cuda/native does products of 64 steps, 64 keys and 64 values a side, of which so many are compulsory
 * for a chunk and 64 values: pass fwd with 128 keys 4, done 7 (S^T Q^T 2, the update 2, scores 2, P V 1); with
 * 256 keys 8, done 11, two warpgroups sharing their scores; and scores once more behind the last of 64 chunks.
 * Pass bwd with 128 keys 10, done 19 + 4 for the states, 23.5 with <G, S>; where one walk makes G 21 + 2; with
 * 256 keys 20, for 512 values 160, done 15.5 for each 64 and 18 (14 and 12 but for the pairs across chunks), and
 * 63 for the states (docs/kernels/recurrence.md). */
const sq_cost_case sq_cost_cases[] = {
    {"attention", FWD, "cuda/portable", TOKENS "H=16,D=128,causal=0", false, 1,
     "bound by products: keys and values are read again"},
    {"attention", BWD, "cuda/portable", TOKENS "H=16,D=128,causal=0", false, 1.4, TWICE},
    {"attention", STEP, "cuda/portable", "B=32,L=4096,H=16,D=128", true, 0, ""},
    {"causal_conv1d", FWD, "cuda/portable", TOKENS "D=4096", true, 0, ""},
    {"causal_conv1d", BWD, "cuda/portable", TOKENS "D=4096", false, 0,
     "sums for dw and db of every 64 steps, in f32"},
    {"causal_conv1d", STEP, "cuda/portable", "B=16384,L=4096,D=4096", true, 0, ""},
    {"gla", FWD, "cuda/portable", TOKENS "H=16,K=128,V=128", true, 0, ""},
    {"gla", FWD, "cuda/chunkwise", TOKENS "H=16,K=128,V=128", false, 0, CHUNK_STATES},
    {"gla", BWD, "cuda/chunkwise", TOKENS "H=16,K=128,V=128", false, 0, CHUNK_STATES},
    {"gla", STEP, "cuda/portable", "B=512,L=4096,H=16,K=128,V=128", true, 0, ""},
    {"group_norm", FWD, "cuda/portable", TOKENS "H=8,D=512", true, 0, ""},
    {"group_norm", BWD, "cuda/portable", TOKENS "H=8,D=512", true, 0, ""},
    {"group_norm", STEP, "cuda/portable", "B=65536,L=4096,H=8,D=512", true, 0, ""},
    {"hyena_filter", FWD, "cuda/portable", "B=1,L=8192,D=16384", true, 0, ""},
    {"hyena_filter", BWD, "cuda/portable", "B=1,L=8192,D=16384", false, 0,
     "dh is read by two products, whose sums are cut into parts"},
    {"layernorm", FWD, "cuda/portable", NORM, true, 0, ""},
    {"layernorm", BWD, "cuda/portable", NORM, true, 0, ""},
    {"layernorm", STEP, "cuda/portable", "B=131072,L=4096,D=2048", true, 0, ""},
    {"linear", FWD, "cublas", TOKENS "K=4096,N=4096", false, 1,
     "bound by products: tiles of x are read again"},
    {"linear", FWD, "cuda/portable", TOKENS "K=4096,N=4096", false, 1,
     "bound by products: tiles of x are read again"},
    {"linear", BWD, "cublas", TOKENS "K=4096,N=4096", false, 1, "two products read dy"},
    {"linear", BWD, "cuda/portable", TOKENS "K=4096,N=4096", false, 1,
     "x, w and dy are laid out anew for its two products"},
    {"linear", STEP, "cublas", "B=16,L=4096,K=16384,N=16384", true, 0, ""},
    {"linear", STEP, "cuda/portable", "B=16,L=4096,K=16384,N=16384", true, 0, ""},
    {"local_attention", FWD, "cuda/portable", TOKENS "H=16,D=128", true, 0, ""},
    {"local_attention", BWD, "cuda/portable", TOKENS "H=16,D=128", false, 0, TWICE},
    {"local_attention", STEP, "cuda/portable", "B=256,L=4096,H=16,D=128", true, 0, ""},
    {"long_conv", FWD, "cuda/portable", TOKENS "D=2048", false, 0, SCRATCH},
    {"long_conv", FWD, "cufft", TOKENS "D=2048", false, 0, SCRATCH},
    {"long_conv", BWD, "cuda/portable", TOKENS "D=2048", false, 0, SCRATCH},
    {"long_conv", BWD, "cufft", TOKENS "D=2048", false, 0, SCRATCH},
    {"long_conv", STEP, "cuda/portable", "B=32,L=4096,D=2048", false, 0,
     "the filter is read for every four sequences"},
    {"retention", FWD, "cuda/portable", TOKENS "H=8,K=256,V=512", true, 0, CHUNK_SCORES},
    {"retention", FWD, "cuda/native", TOKENS "H=8,K=256,V=512", true, 1.38, CHUNK_SCORES},
    {"retention", BWD, "cuda/portable", TOKENS "H=8,K=256,V=512", false, 0, CHUNK_STATES},
    {"retention", BWD, "cuda/native", TOKENS "H=8,K=256,V=512", false, 1.28, CHUNK_STATES},
    {"retention", FWD, "cuda/portable", TOKENS "H=8,K=256,V=512,norm=paper", false, 0, SCORE_SUMS},
    {"retention", BWD, "cuda/portable", TOKENS "H=8,K=256,V=512,norm=paper", false, 0, SCORE_SUMS},
    {"retention", STEP, "cuda/portable", "B=128,L=4096,H=8,K=256,V=512", true, 0, ""},
    {"rmsnorm", FWD, "cuda/portable", NORM, true, 0, ""},
    {"rmsnorm", BWD, "cuda/portable", NORM, true, 0, ""},
    {"rmsnorm", STEP, "cuda/portable", "B=131072,L=4096,D=2048", true, 0, ""},
    {"rope", FWD, "cuda/portable", HEADS, true, 0, ""},
    {"rope", BWD, "cuda/portable", HEADS, true, 0, ""},
    {"rope", STEP, "cuda/portable", "B=131072,L=4096,H=16,D=128", true, 0, ""},
    {"s4_kernel", FWD, "cuda/portable", "B=1,L=32768,D=2048", false, 0,
     "the spectrum goes through scratch to its transform"},
    {"s4_kernel", BWD, "cuda/portable", "B=1,L=32768,D=2048", false, 0,
     "the spectrum goes through scratch from its transform"},
    {"s4_scan", FWD, "cuda/portable", TOKENS "D=2048", false, 0,
     "a warp has one channel: what a line holds of the others is read again"},
    {"s4_scan", BWD, "cuda/portable", TOKENS "D=2048", false, 0, "states are made again"},
    {"s4_scan", STEP, "cuda/portable", "B=512,L=4096,D=2048", true, 0, ""},
    {"s4d_kernel", FWD, "cuda/portable", "B=1,L=32768,D=2048", true, 0, ""},
    {"s4d_kernel", BWD, "cuda/portable", "B=1,L=32768,D=2048", false, 0,
     "sums of segments of taps in f64"},
    {"selective_scan", FWD, "cuda/portable", TOKENS "D=4096", true, 0, ""},
    {"selective_scan", BWD, "cuda/portable", TOKENS "D=4096", false, 0,
     "the states of pass fwd, and parts of dB and dC"},
    {"selective_scan", STEP, "cuda/portable", "B=2048,L=4096,D=4096", true, 0, ""},
    {"shift_ssm", FWD, "cuda/portable", TOKENS "D=2048", true, 0, ""},
    {"shift_ssm", BWD, "cuda/portable", TOKENS "D=2048", false, 0,
     "u and dy are read for du and for the filter's gradient"},
    {"shift_ssm", STEP, "cuda/portable", "B=512,L=4096,D=2048", true, 0, ""},
    {"simple_gla", FWD, "cuda/portable", TOKENS "H=16,K=128,V=128", true, 0, CHUNK_SCORES},
    {"simple_gla", FWD, "cuda/native", TOKENS "H=16,K=128,V=128", true, 1.76, CHUNK_SCORES},
    {"simple_gla", BWD, "cuda/portable", TOKENS "H=16,K=128,V=128", false, 0, CHUNK_STATES},
    {"simple_gla", BWD, "cuda/native", TOKENS "H=16,K=128,V=128", false, 2.34, CHUNK_STATES},
    {"simple_gla", BWD, "cuda/native", TOKENS "H=16,K=128,V=64", false, 2.35,
     "states before all chunks are written and read, and k and v for them"},
    {"simple_gla", STEP, "cuda/portable", "B=512,L=4096,H=16,K=128,V=128", true, 0, ""},
    {"ssd", FWD, "cuda/portable", TOKENS "H=64,P=64,N=128", true, 0, CHUNK_SCORES},
    {"ssd", FWD, "cuda/native", TOKENS "H=64,P=64,N=128", true, 1.76, CHUNK_SCORES},
    {"ssd", BWD, "cuda/portable", TOKENS "H=64,P=64,N=128", false, 0, CHUNK_STATES},
    {"ssd", BWD, "cuda/native", TOKENS "H=64,P=64,N=128", false, 2.34, CHUNK_STATES},
    {"ssd", STEP, "cuda/portable", "B=256,L=4096,H=64,P=64,N=128", true, 0, ""},
    {"xpos", FWD, "cuda/portable", HEADS, true, 0, ""},
    {"xpos", BWD, "cuda/portable", HEADS, true, 0, ""},
    {"xpos", STEP, "cuda/portable", "B=131072,L=4096,H=16,D=128", true, 0, ""},
    {NULL, FWD, NULL, NULL, false, 0, NULL},
};
