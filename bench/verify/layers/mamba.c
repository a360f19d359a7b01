/* layers of Mamba: the mixers of both generations. */
#include "bench/verify/layers/layers.h"

/* Mamba (Gu & Dao 2023, figure 3): in_proj rows [x | z]; the convolved x gives [dt | B | C]. */
static void mamba(sq_tape *t, const sq_golden *g)
{
    (void)g;
    const sq_var hidden = sq_tape_leaf(t, "hidden_states");
    const sq_var weight = sq_tape_leaf(t, "conv1d.weight"), a_log = sq_tape_leaf(t, "A_log");
    const int64_t batch = sq_tape_dim(t, hidden, 0), length = sq_tape_dim(t, hidden, 1);
    const int64_t inner = sq_tape_dim(t, a_log, 0), state = sq_tape_dim(t, a_log, 1);
    const int64_t rank = sq_tape_dim(t, sq_tape_leaf(t, "dt_proj.weight"), 1);
    const sq_var xz = sq_layer_linear(t, hidden, "in_proj.weight", NULL);
    const int conv =
        sq_tape_call(t, "causal_conv1d",
                     (sq_tape_bind[]){{"x", sq_layer_heads(t, xz, 0, inner, 0)},
                                      {"w", weight},
                                      {"b", sq_tape_leaf(t, "conv1d.bias")},
                                      {NULL, 0}},
                     "B=%lld,L=%lld,D=%lld,W=%lld,silu=1,bias=1", (long long)batch,
                     (long long)length, (long long)inner, (long long)sq_tape_dim(t, weight, 2));
    const sq_var u = sq_tape_result(t, conv, "y");
    const sq_var parts = sq_layer_linear(t, u, "x_proj.weight", NULL);
    const sq_var delta =
        sq_layer_linear(t, sq_layer_heads(t, parts, 0, rank, 0), "dt_proj.weight", NULL);
    const int scan = sq_tape_call(
        t, "selective_scan",
        (sq_tape_bind[]){{"u", u},
                         {"delta", delta},
                         {"A", sq_tape_pointwise(t, &sq_pointwise_minus_exp, a_log, SQ_VAR_NONE)},
                         {"B", sq_layer_heads(t, parts, rank, state, 1)},
                         {"C", sq_layer_heads(t, parts, rank + state, state, 1)},
                         {"D", sq_tape_leaf(t, "D")},
                         {"z", sq_layer_heads(t, xz, inner, inner, 0)},
                         {"delta_bias", sq_tape_leaf(t, "dt_proj.bias")},
                         {NULL, 0}},
        "B=%lld,L=%lld,D=%lld,N=%lld", (long long)batch, (long long)length, (long long)inner,
        (long long)state);
    sq_tape_output(t, "y",
                   sq_layer_linear(t, sq_tape_result(t, scan, "y"), "out_proj.weight", NULL));
}

const sq_verify_layer sq_layers_mamba[] = {
    {"mamba", mamba},
    {NULL, NULL},
};
