/* attention: softmax attention: causal or not, grouped key/value heads, windows, positions.
 *
 *   o_i = sum_j p_ij v_j,   p_ij = exp(s_ij) / sum_j' exp(s_ij'),
 *   s_ij = R(p_i) q_i . R(j) k_j / sqrt(D) - m_h |i + c - j|
 *
 * over the keys j that query i sees. Queries stand at the end of the keys (bottom-right alignment):
 * query i stands at key i + c, c = Lk - L. A causal query sees j <= i + c; with a window W only
 * j > i + c - W (its own key and the W - 1 before it); without causality, `ahead` A bounds the
 * other side, j <= i + c + A. A query that sees no key yields 0. Query head h reads key/value head
 * h / (H / Hkv). Positions (pos):
 *
 *   none               R = 1, m = 0
 *   rope               R(p) turns channels (a, a + n) of the first 2 n = `rotary` by
 *                      p base^(-a / n); p_i = i + c + shift; R q and R k are rounded to dtype
 *   rope-interleaved   the same with channels (2 a, 2 a + 1)
 *   alibi              m_h = 2^(-8 (h + 1) / H) for H a power of two; else see sq_attention_slope
 *   hard-alibi         heads h < masked have the window h + 1, the others `window`
 *
 * Source    Vaswani et al., 1706.03762, eq. 1; grouped heads: Ainslie et al., 2305.13245; window:
 *           Beltagy et al., 2004.05150, sec. 3.1; rope: Su et al., 2104.09864, eq. 34; alibi: Press
 *           et al., 2108.12409, sec. 3; hard-alibi: Jelassi et al., 2402.01032, sec. 3
 * Symbols   B: batch;  L: queries;  Lk: keys;  H: query heads;  Hkv: key/value heads;  D: head dim
 * in[0]     q  (B, L, H, D)     dtype       in[1]  k  (B, Lk, Hkv, D)  dtype
 * in[2]     v  (B, Lk, Hkv, D)  dtype
 * out[0]    o  (B, L, H, D)     dtype       accumulates in f32 (reference: f64)
 * Needs     Hkv divides H; ahead needs causal = 0; rotary is even; D <= 256
 * Step      one query, the last of L tokens; k and v are the cache: L keys, the query's own
 *           included, turned already; with a window W < L a ring of W, key t in row t mod W
 *           (hard-alibi: if masked <= W)
 * Errors    SQ_BAD_SHAPE
 * Cost      fwd, step: 4 D flop and one exp for each visible (query, key) pair and head, 2 flop for
 *           its alibi; rope's as of that operator; reads q and the keys and values that any query
 *           sees once, writes o once
 *           bwd: 10 D flop and one exp a pair, alibi's and twice rope's; reads q, o, do and those
 *           keys and values, writes every gradient
 */
#include "kernels/attention/attention.h"
#include "kernels/op.h"

#include <math.h>
#include <stdio.h>

#include "kernels/shared/channels.h"
#include "kernels/shared/rows.h"

enum { MAX_D = 256 };

static const char *const positions[] = {"none",  "rope",       "rope-interleaved",
                                        "alibi", "hard-alibi", NULL};

static const sq_axis axes[] = {
    {"B", "batch", "sequences", SQ_AXIS_INT, 1, 1, 1 << 20, NULL},
    {"L", "seqlen", "queries of a sequence", SQ_AXIS_INT, 2048, 1, 1 << 24, NULL},
    {"Lk", "kv-seqlen", "keys of a sequence (0: as many as queries)", SQ_AXIS_INT, 0, 0, 1 << 24,
     NULL},
    {"H", "heads", "query heads", SQ_AXIS_INT, 16, 1, 4096, NULL},
    {"Hkv", "kv-heads", "key/value heads (0: as many as query heads)", SQ_AXIS_INT, 0, 0, 4096,
     NULL},
    {"D", "head-dim", "channels of a head", SQ_AXIS_INT, 128, 1, MAX_D, NULL},
    {"causal", "causal", "1: a query sees no later key", SQ_AXIS_INT, 1, 0, 1, NULL},
    {"window", "window", "keys seen up to a query's own, that included (0: all)", SQ_AXIS_INT, 0, 0,
     1 << 24, NULL},
    {"ahead", "ahead", "keys seen beyond a query's own, causal=0 (0: all)", SQ_AXIS_INT, 0, 0,
     1 << 24, NULL},
    {"pos", "pos", "how positions enter the scores", SQ_AXIS_CHOICE, 0, 0, 4, positions},
    {"rotary", "rotary", "channels of a head that rope turns (0: all)", SQ_AXIS_INT, 0, 0, MAX_D,
     NULL},
    {"base", "rope-base", "rope: base of the angles", SQ_AXIS_REAL, 10000, 1, 1e9, NULL},
    {"shift", "rope-shift", "rope: position of a query beyond its key's", SQ_AXIS_INT, 0,
     -(1 << 24), 1 << 24, NULL},
    {"masked", "masked-heads", "hard-alibi: heads with a window (0: half of them)", SQ_AXIS_INT, 0,
     0, 4096, NULL},
    {.name = NULL},
};

static bool is_rope(const sq_axis_value *axis)
{
    return axis[AXIS_POS] == POS_ROPE || axis[AXIS_POS] == POS_ROPE_INTERLEAVED;
}

static sq_status check(sq_axis_value *axis, sq_error *err)
{
    if (axis[AXIS_LK] == 0)
        axis[AXIS_LK] = axis[AXIS_L];
    if (axis[AXIS_HKV] == 0)
        axis[AXIS_HKV] = axis[AXIS_H];
    if (sq_axis_int(axis, AXIS_H) % sq_axis_int(axis, AXIS_HKV) != 0)
        return sq_fail(err, SQ_BAD_SHAPE, "H=%g is no multiple of Hkv=%g", axis[AXIS_H],
                       axis[AXIS_HKV]);
    if (axis[AXIS_AHEAD] != 0 && axis[AXIS_CAUSAL] != 0)
        return sq_fail(err, SQ_BAD_SHAPE, "ahead=%g needs causal=0", axis[AXIS_AHEAD]);
    if (is_rope(axis) && axis[AXIS_ROTARY] == 0)
        axis[AXIS_ROTARY] = axis[AXIS_D];
    if (is_rope(axis) &&
        (sq_axis_int(axis, AXIS_ROTARY) % 2 != 0 || axis[AXIS_ROTARY] > axis[AXIS_D]))
        return sq_fail(err, SQ_BAD_SHAPE, "rotary=%g is odd or more than D=%g", axis[AXIS_ROTARY],
                       axis[AXIS_D]);
    if (axis[AXIS_POS] == POS_HARD_ALIBI && axis[AXIS_MASKED] == 0)
        axis[AXIS_MASKED] = floor(axis[AXIS_H] / 2);
    if (axis[AXIS_MASKED] > axis[AXIS_H])
        return sq_fail(err, SQ_BAD_SHAPE, "masked=%g of H=%g heads", axis[AXIS_MASKED],
                       axis[AXIS_H]);
    return SQ_OK;
}

static sq_status at_width(int64_t width, sq_axis_value *axis, sq_error *err)
{
    SQ_TRY(sq_heads_at_width(width, 128, &axis[AXIS_H], err));
    axis[AXIS_HKV] = axis[AXIS_H];
    axis[AXIS_D] = 128;
    return SQ_OK;
}

static bool is_ring(const sq_axis_value *axis)
{
    return axis[AXIS_WINDOW] > 0 && axis[AXIS_WINDOW] < axis[AXIS_L] &&
           (axis[AXIS_POS] != POS_HARD_ALIBI || axis[AXIS_MASKED] <= axis[AXIS_WINDOW]);
}

static sq_status tensors(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis,
                         sq_tensor_list *list, sq_error *err)
{
    (void)err;
    const bool is_step = pass == SQ_PASS_STEP;
    const int64_t b = sq_axis_int(axis, AXIS_B), l = is_step ? 1 : sq_axis_int(axis, AXIS_L);
    const int64_t h = sq_axis_int(axis, AXIS_H), hkv = sq_axis_int(axis, AXIS_HKV);
    const int64_t d = sq_axis_int(axis, AXIS_D);
    const int cache = is_ring(axis) ? AXIS_WINDOW : AXIS_L;
    const int64_t lk = sq_axis_int(axis, is_step ? cache : AXIS_LK);
    const sq_draw normal = {SQ_DRAW_NORMAL, 0.0f, 1.0f, 0};
    *list = (sq_tensor_list){.n_in = IN_COUNT, .n_out = 1};
    list->in[IN_Q] = (sq_tensor_spec){"q", dtype, 4, {b, l, h, d}, 1, normal};
    list->in[IN_K] = (sq_tensor_spec){"k", dtype, 4, {b, lk, hkv, d}, 1, normal};
    list->in[IN_V] = (sq_tensor_spec){"v", dtype, 4, {b, lk, hkv, d}, 1, normal};
    list->out[0] = (sq_tensor_spec){"o", dtype, 4, {b, l, h, d}, 1, {0}};
    return SQ_OK;
}

sq_attention_rules sq_attention_rules_of(sq_pass pass, const sq_axis_value *axis)
{
    const bool is_step = pass == SQ_PASS_STEP;
    return (sq_attention_rules){
        .queries = is_step ? 1 : sq_axis_int(axis, AXIS_L),
        .keys = sq_axis_int(axis, is_step ? AXIS_L : AXIS_LK),
        .heads = sq_axis_int(axis, AXIS_H),
        .is_causal = axis[AXIS_CAUSAL] != 0,
        .window = sq_axis_int(axis, AXIS_WINDOW),
        .ahead = sq_axis_int(axis, AXIS_AHEAD),
        .masked = axis[AXIS_POS] == POS_HARD_ALIBI ? sq_axis_int(axis, AXIS_MASKED) : 0,
        .has_alibi = axis[AXIS_POS] == POS_ALIBI,
        .rotation = {.dims = is_rope(axis) ? sq_axis_int(axis, AXIS_ROTARY) : 0,
                     .is_interleaved = axis[AXIS_POS] == POS_ROPE_INTERLEAVED,
                     .base = axis[AXIS_BASE]},
        .shift = sq_axis_int(axis, AXIS_SHIFT),
        .is_cached = is_step,
    };
}

/* Visible pairs of all heads of a sequence. */
static double visible_pairs(const sq_attention_rules *rules)
{
    double pairs = (double)(rules->heads - rules->masked) * sq_attention_pairs(rules, rules->heads);
    for (int64_t h = 0; h < rules->masked; h++)
        pairs += sq_attention_pairs(rules, h);
    return pairs;
}

/* Keys that any query sees, summed over the key/value heads. */
static double visible_keys(const sq_attention_rules *rules, int64_t kv_heads)
{
    const int64_t group = rules->heads / kv_heads;
    int64_t keys = 0, first = rules->keys;
    for (int64_t h = 0; h < rules->heads; h++) {
        const sq_key_range seen = sq_attention_keys(rules, h, 0);
        first = seen.first < first ? seen.first : first;
        if ((h + 1) % group == 0) {
            keys += sq_attention_keys(rules, h, rules->queries - 1).last - first;
            first = rules->keys;
        }
    }
    return (double)keys;
}

/* Of rope: an angle, its sine and cosine for each position that queries or keys have, and 6 flop for
 * each pair of channels of the queries and of the keys that any query sees; backward they turn
 * again, and their gradients turn back. A cache has turned before. rows: of those. */
static sq_cost rope_cost(const sq_attention_rules *rules, sq_pass pass, double rows)
{
    const double queries = (double)rules->queries, keys = (double)rules->keys;
    const double ahead = (double)rules->shift; /* queries end that far beyond the keys */
    const double first = fmax(keys - queries + ahead, 0), last = fmin(keys + ahead, keys);
    const double places = queries + (rules->is_cached ? 0 : keys - fmax(last - first, 0));
    const double angles = (double)rules->rotation.dims / 2;
    return (sq_cost){.flops = angles * (places + (pass == SQ_PASS_BWD ? 12 : 6) * rows),
                     .special = 2 * angles * places};
}

/* bwd: S and dP once more, then dV, dQ and dK: five products where fwd has two. Of keys that no
 * query sees the gradients are written, too. ALiBi: the slope times the distance, added to a score.
 */
static sq_cost cost(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    const sq_attention_rules rules = sq_attention_rules_of(pass, axis);
    const bool is_bwd = pass == SQ_PASS_BWD;
    const double size = (double)sq_dtype_size(dtype), batch = axis[AXIS_B], d = axis[AXIS_D];
    const double pairs = batch * visible_pairs(&rules), matrix = (is_bwd ? 10 : 4) * d * pairs;
    const double q = batch * (double)rules.queries * axis[AXIS_H] * d;
    const double kv = 2 * batch * d * visible_keys(&rules, sq_axis_int(axis, AXIS_HKV));
    const double dkv = 2 * batch * d * axis[AXIS_LK] * axis[AXIS_HKV];
    const double turned = (q + (rules.is_cached ? 0 : kv / 2)) / d;
    const sq_cost rope = rope_cost(&rules, pass, turned);
    return (sq_cost){
        .flops = matrix + (rules.has_alibi ? 2 : 0) * pairs + rope.flops,
        .matrix_flops = dtype == SQ_DTYPE_F32 ? 0 : matrix,
        .special = pairs + rope.special,
        .bytes_read = size * ((is_bwd ? 3 : 1) * q + kv),
        .bytes_written = size * (is_bwd ? q + dkv : q),
    };
}

/* sum over m = 1..n of min(1, e/m), by the integral. */
static double variance_sum(double n)
{
    const double e = 2.718281828459045;
    return n <= e ? n : e * (1 + log(n / e));
}

/* Variance of the outputs of a head with that window: the largest of a row, and the mean. With q,
 * k, v of variance 1 an output of n keys is a mean of about n/e independent values: min(1, e/n). */
typedef struct {
    double largest, mean;
} spread;

static spread spread_of(const sq_axis_value *axis, double window)
{
    const double e = 2.718281828459045, lk = axis[AXIS_LK];
    if (axis[AXIS_CAUSAL] == 0) {
        const double ahead = axis[AXIS_AHEAD], most = ahead > 0 && window > 0 ? window + ahead : lk;
        const double fewest = fmin(ahead > 0 ? ahead + 1 : lk, window > 0 ? window : lk);
        return (spread){fmin(1, e / fewest), fmin(1, e / fmin(most, lk))};
    }
    const double first = fmax(1, lk - axis[AXIS_L] + 1), cut = window > 0 ? fmin(window, lk) : lk;
    double sum = cut > first ? variance_sum(cut) - variance_sum(first - 1) : fmin(1, e / first);
    sum += (lk - fmax(cut, first)) * fmin(1, e / cut);
    return (spread){fmin(1, e / fmin(first, cut)), sum / axis[AXIS_L]};
}

static spread spread_of_heads(const sq_axis_value *axis)
{
    const sq_attention_rules rules = sq_attention_rules_of(SQ_PASS_FWD, axis);
    const spread rest = spread_of(axis, axis[AXIS_WINDOW]);
    spread all = {rest.largest, rest.mean * (double)(rules.heads - rules.masked)};
    for (int64_t h = 0; h < rules.masked; h++) {
        const spread one = spread_of(axis, (double)(h + 1));
        all.largest = fmax(all.largest, one.largest);
        all.mean += one.mean;
    }
    all.mean /= (double)rules.heads;
    return all;
}

/* The first rows are the largest, and an error relative to them may be many times the root mean
 * square of a long sequence; the gradients of the first keys and queries are the largest likewise.
 *   16 bit: rounding o and rounding each p cost one half-ulp each (rms 1.7e-3 for bf16), together
 *           2.4e-3, and rounding the reference another 1.7e-3: 2.9e-3 in all. bwd rounds p or dS,
 *           the result and with rope what turns back, and so does the reference: 3.7e-3.
 *   f32: a few ulp of exp2 and of the scores, and sums of Lk terms: rounding grows as sqrt(Lk). In
 *        bwd dP - rowsum(dO o) cancels to a small part of either.
 * The worst element is a few times the root mean square of its row's error. */
static sq_tolerance tolerance(sq_pass pass, sq_dtype dtype, const sq_axis_value *axis)
{
    const bool is_bwd = pass == SQ_PASS_BWD, is_step = pass == SQ_PASS_STEP;
    const double n = fmax(axis[AXIS_L], axis[AXIS_LK]);
    const spread s = is_step ? (spread){1, 1} : spread_of_heads(axis);
    double relative = is_bwd ? 1e-5 : fmin(1e-5, 3e-6 + 3e-8 * sqrt(n));
    if (dtype != SQ_DTYPE_F32)
        relative = (is_bwd ? 5e-3 : 4e-3) / (dtype == SQ_DTYPE_BF16 ? 1 : 8);
    return (sq_tolerance){.rel_l2 = relative,
                          .max_abs = (is_bwd ? 32 : 16) * relative * sqrt(s.largest / s.mean)};
}

static sq_status reference(const sq_call *call, sq_error *err)
{
    sq_attention_rules rules = sq_attention_rules_of(call->pass, call->axis);
    rules.rotated = call->dtype;
    return sq_attention_forward(&rules, &call->in[IN_Q], &call->in[IN_K], &call->in[IN_V],
                                &call->out[0], err);
}

/* A turned pair costs about as much as 20 products. */
static double reference_work(const sq_axis_value *axis)
{
    const double turned = is_rope(axis) ? 10 * axis[AXIS_ROTARY] : 0;
    const double rows = axis[AXIS_L] * axis[AXIS_H] + axis[AXIS_LK] * axis[AXIS_HKV];
    const sq_attention_rules rules = sq_attention_rules_of(SQ_PASS_FWD, axis);
    return axis[AXIS_B] *
           ((2 * axis[AXIS_D] + 20) * visible_pairs(&rules) + (axis[AXIS_D] + turned) * rows);
}

typedef struct {
    int64_t b, h, heads, kv_heads, row, rows, first, keys; /* first, keys: rows of k and v */
} part;

static bool needs_all_heads(const sq_axis_value *axis)
{
    return axis[AXIS_POS] == POS_ALIBI || axis[AXIS_POS] == POS_HARD_ALIBI;
}

/* Some query rows, at the end of the sequence (longest sums) or anywhere, and the keys from the
 * first to the last that they see, so that the bottom-right alignment still holds. Without
 * causality only rows at the end keep their distance to the keys; rotations are of absolute
 * positions, which all keys from the first on keep. */
static void pick_rows(const sq_axis_value *axis, sq_pick pick, part *p)
{
    const sq_attention_rules rules = sq_attention_rules_of(SQ_PASS_FWD, axis);
    const bool is_whole = is_rope(axis) || rules.masked > 0, is_windowed = rules.window > 0;
    const double keys = is_windowed && rules.is_causal && !is_whole
                            ? fmin(axis[AXIS_WINDOW], axis[AXIS_LK])
                            : axis[AXIS_LK];
    const double fit = pick.max_work / (keys * (2 * axis[AXIS_D] + 20) * (double)p->heads);
    p->rows = (int64_t)fmax(1, fmin(axis[AXIS_L], fit));
    p->row = sq_pick_start(pick, 2, rules.queries, p->rows);
    if (!rules.is_causal || sq_rng_bits(pick.seed, 0, 3) % 2 == 0 ||
        sq_attention_keys(&rules, rules.heads, p->row + p->rows - 1).last == 0)
        p->row = rules.queries - p->rows;
    p->first = is_whole ? 0 : sq_attention_keys(&rules, rules.heads, p->row).first;
    p->keys = sq_attention_keys(&rules, rules.heads, p->row + p->rows - 1).last - p->first;
}

/* One head, or all where slopes or windows go by their number. Pass step: its one row, all keys. */
static sq_status slice(const sq_call *whole, sq_pick pick, sq_call *sub, char *what, size_t size)
{
    const sq_axis_value *axis = whole->axis;
    const int64_t heads = sq_axis_int(axis, AXIS_H), kv_heads = sq_axis_int(axis, AXIS_HKV);
    part p = {.rows = 1, .keys = whole->in[IN_K].dim[1], .heads = 1, .kv_heads = 1};
    p.b = sq_pick_start(pick, 0, whole->in[IN_Q].dim[0], 1);
    p.h = sq_pick_start(pick, 1, heads, 1);
    if (needs_all_heads(axis))
        p.h = 0, p.heads = heads, p.kv_heads = kv_heads;
    if (whole->pass != SQ_PASS_STEP)
        pick_rows(axis, pick, &p);

    *sub = *whole;
    sub->axis[AXIS_B] = 1;
    sub->axis[AXIS_H] = (double)p.heads;
    sub->axis[AXIS_HKV] = (double)p.kv_heads;
    if (whole->pass != SQ_PASS_STEP) {
        sub->axis[AXIS_L] = (double)p.rows;
        sub->axis[AXIS_LK] = (double)p.keys;
    }
    const int64_t at[3] = {p.b, p.row, p.h}, cut[3] = {1, p.rows, p.heads};
    const int64_t at_kv[3] = {p.b, p.first, p.h / (heads / kv_heads)};
    const int64_t cut_kv[3] = {1, p.keys, p.kv_heads};
    for (int i = 0; i < 3; i++) {
        sub->in[IN_Q] = sq_tensor_slice(&sub->in[IN_Q], i, at[i], cut[i]);
        sub->in[IN_K] = sq_tensor_slice(&sub->in[IN_K], i, at_kv[i], cut_kv[i]);
        sub->in[IN_V] = sq_tensor_slice(&sub->in[IN_V], i, at_kv[i], cut_kv[i]);
        sub->out[0] = sq_tensor_slice(&sub->out[0], i, at[i], cut[i]);
    }
    snprintf(what, size, "b=%lld h=%lld..%lld rows=%lld..%lld", (long long)p.b, (long long)p.h,
             (long long)(p.h + p.heads), (long long)p.row, (long long)(p.row + p.rows));
    return SQ_OK;
}

static const char *const test_shapes[] = {
    "B=1,L=1,H=2,D=64",
    "B=2,L=1,Lk=97,H=4,Hkv=2,D=128",
    "B=2,L=37,H=3,D=64",
    "B=1,L=127,H=4,Hkv=1,D=128",
    "B=1,L=64,H=2,D=64,causal=0",
    "B=2,L=130,Lk=71,H=2,D=64,causal=0",
    "B=1,L=311,H=2,Hkv=1,D=128",
    "B=1,L=257,H=2,D=64,window=1",
    "B=1,L=300,H=2,D=128,window=65",
    "B=1,L=515,H=2,Hkv=1,D=64,window=128",
    "B=1,L=40,Lk=25,H=2,Hkv=1,D=64",
    "B=1,L=200,Lk=17,H=2,D=128,window=8",
    "B=2,L=5,Lk=190,H=4,Hkv=1,D=64,window=70",
    "B=1,L=129,Lk=400,H=2,D=128",
    "B=1,L=131,H=3,D=80",
    "B=1,L=67,H=2,D=8",
    "B=1,L=33,H=2,D=37",
    "B=1,L=70,H=2,D=256",
    "B=1,L=1025,H=1,D=128",
    "B=1,L=61,H=2,D=16,causal=0,window=8,ahead=5",
    "B=1,L=150,Lk=333,H=4,Hkv=2,D=64,causal=0,ahead=40",
    "B=1,L=201,Lk=97,H=2,D=128,causal=0,window=33",
    "B=2,L=41,H=6,Hkv=3,D=32,pos=alibi",
    "B=1,L=203,Lk=300,H=3,D=128,pos=alibi,window=90",
    "B=1,L=70,H=5,Hkv=1,D=64,pos=alibi,causal=0",
    "B=1,L=77,H=8,Hkv=4,D=64,pos=hard-alibi",
    "B=1,L=140,Lk=170,H=6,D=128,pos=hard-alibi,masked=5,window=80",
    "B=2,L=47,H=4,Hkv=2,D=64,pos=rope",
    "B=1,L=130,Lk=191,H=2,Hkv=1,D=128,pos=rope,rotary=32,window=100",
    "B=1,L=37,Lk=50,H=2,D=80,pos=rope-interleaved,rotary=24,shift=7,base=500",
    "B=1,L=50,Lk=33,H=2,D=64,pos=rope-interleaved,causal=0",
    "B=2,L=23,H=3,Hkv=1,D=16,pos=alibi",
    "B=1,L=21,Lk=27,H=4,Hkv=2,D=16,pos=hard-alibi,masked=3,window=9",
    "B=1,L=19,Lk=26,H=2,Hkv=1,D=16,pos=rope,shift=-3",
    "B=2,L=61,H=4,Hkv=2,D=1,window=17",
    "B=1,L=67,Lk=80,H=2,D=3,window=9",
    "B=2,L=37,Lk=31,H=2,Hkv=1,D=4,causal=0",
    "B=1,L=41,H=4,Hkv=2,D=12,pos=alibi",
    "B=1,L=43,Lk=50,H=2,Hkv=1,D=12,pos=rope,rotary=6",
    "B=1,L=71,H=2,Hkv=1,D=33",
    "B=1,L=67,Lk=90,H=2,D=33,pos=rope-interleaved,rotary=32",
    NULL,
};

const sq_op sq_op_attention = {
    .name = "attention",
    .source = "Vaswani et al., arXiv 1706.03762, eq. 1",
    .doc = "o_i = sum_j softmax_j(q_i . k_j / sqrt(D)) v_j over the keys j that query i sees",
    .is_mixer = true,
    .axes = axes,
    .check = check,
    .at_width = at_width,
    .tensors = tensors,
    .cost = cost,
    .tolerance = tolerance,
    .reference = reference,
    .backward = sq_attention_backward,
    .reference_work = reference_work,
    .slice = slice,
    .test_shapes = test_shapes,
    .causality_bound = 0,
};
