/* What cost() says against counting: the bytes of the call's tensors, and the pairs that attention
 * sees. The arithmetic of all others: test_cost_*.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/op.h"
#include "tests/support/cost_cases.h"

#define MAX_COUNTED 5e6                /* steps of one counting loop */
#define FOUR_L2 (4 * 50.0 * (1 << 20)) /* of an H100 */
#define MOST_HELD 8e9                  /* bytes */

static double axis_of(const sq_call *call, const char *name)
{
    const int at = sq_axis_find(call->op->axes, name);
    assert_true(at >= 0);
    return call->axis[at];
}

/* Calls visit for every test shape of every operator, in every pass it has. */
static void each_call(void (*visit)(const sq_call *call, const sq_tensor_list *list,
                                    const char *shape))
{
    sq_error err = {.status = SQ_OK};
    for (int i = 0; sq_ops[i]; i++)
        for (int p = 0; p < SQ_OWN_PASSES; p++)
            for (const char *const *shape = sq_ops[i]->test_shapes; *shape; shape++) {
                sq_call call;
                sq_tensor_list list;
                if (sq_call_parse(sq_ops[i], sq_own_passes[p], SQ_DTYPE_BF16, *shape, &call, &err) ==
                        SQ_OK &&
                    sq_call_shape(&call, &list, &err) == SQ_OK)
                    visit(&call, &list, *shape);
            }
}

/* --- bytes --- */

/* Query i of `queries` at the end of `keys` sees key j, for head h. */
static bool sees(const sq_call *call, int64_t i, int64_t j, int64_t h, int64_t queries,
                 int64_t keys)
{
    const int64_t at = i + keys - queries, window = (int64_t)axis_of(call, "window");
    const int64_t ahead = (int64_t)axis_of(call, "ahead");
    const bool is_hard = axis_of(call, "pos") == 4 && h < (int64_t)axis_of(call, "masked");
    const int64_t own = is_hard ? h + 1 : window;
    if (axis_of(call, "causal") != 0 ? j > at : ahead > 0 && j > at + ahead)
        return false;
    return own == 0 || j > at - own;
}

typedef struct {
    double pairs; /* of queries and keys that are seen, over all heads */
    double keys;  /* of key/value heads that any query sees */
} visible;

static visible count_visible(const sq_call *call)
{
    const bool is_step = call->pass == SQ_PASS_STEP;
    const int64_t length = (int64_t)axis_of(call, "L"), heads = (int64_t)axis_of(call, "H");
    const int64_t queries = is_step ? 1 : length;
    const int64_t keys = is_step ? length : (int64_t)axis_of(call, "Lk");
    const int64_t shared = (int64_t)axis_of(call, "Hkv");
    visible v = {0, 0};
    for (int64_t group = 0; group < shared; group++)
        for (int64_t j = 0; j < keys; j++) {
            bool is_read = false;
            for (int64_t h = group * heads / shared; h < (group + 1) * heads / shared; h++)
                for (int64_t i = 0; i < queries; i++)
                    if (sees(call, i, j, h, queries, keys)) {
                        v.pairs++;
                        is_read = true;
                    }
            v.keys += is_read;
        }
    v.pairs *= axis_of(call, "B");
    v.keys *= axis_of(call, "B");
    return v;
}

typedef struct {
    double flops, special;
} turned;

static bool has_position(int64_t first, int64_t count, int64_t at)
{
    return at >= first && at < first + count;
}

/* pos=rope: an angle, sine and cosine of each position, of queries or of keys outside a cache; six
 * flop a pair of channels, backward of gradients too. */
static turned count_turned(const sq_call *call)
{
    const bool is_step = call->pass == SQ_PASS_STEP;
    const int64_t length = (int64_t)axis_of(call, "L"), shift = (int64_t)axis_of(call, "shift");
    const int64_t queries = is_step ? 1 : length;
    const int64_t keys = is_step ? length : (int64_t)axis_of(call, "Lk");
    const int64_t first = keys - queries + shift, apart = shift < 0 ? -shift : shift;
    const double pos = axis_of(call, "pos");
    turned sum = {0, 0};
    if (pos != 1 && pos != 2)
        return sum;
    for (int64_t i = 0; i < (int64_t)axis_of(call, "rotary"); i += 2) {
        for (int64_t at = -queries - apart; at < keys + apart; at++)
            if (has_position(first, queries, at) || (!is_step && has_position(0, keys, at))) {
                sum.flops += 1;
                sum.special += 2;
            }
        const double rows = axis_of(call, "B") * axis_of(call, "H") * (double)queries;
        const double all = rows + (is_step ? 0 : count_visible(call).keys);
        sum.flops += all * (call->pass == SQ_PASS_BWD ? 12 : 6);
    }
    return sum;
}

static bool is_counted(const sq_call *call)
{
    return axis_of(call, "L") * axis_of(call, "Lk") * axis_of(call, "H") <= MAX_COUNTED;
}

static bool is_attention(const sq_call *call)
{
    return strcmp(call->op->name, "attention") == 0;
}

static double bytes_of(const sq_tensor_spec *spec, const sq_tensor *tensor, int first, int end)
{
    double bytes = 0;
    for (int i = first; i < end; i++)
        if (spec[i].name)
            bytes += (double)sq_tensor_bytes(&tensor[i]);
    return bytes;
}

/* Of pass fwd and step everything is read, but of keys and values what any query sees. */
static double bytes_read(const sq_call *call, const sq_tensor_list *list)
{
    if (!is_attention(call))
        return bytes_of(list->in, call->in, 0, list->n_in);
    const double row = 2 * axis_of(call, "D") * (double)sq_dtype_size(call->dtype);
    return bytes_of(list->in, call->in, 0, 1) + row * count_visible(call).keys;
}

static void check_forward_bytes(const sq_call *call, const sq_tensor_list *list, const char *shape)
{
    if (call->pass == SQ_PASS_BWD || (is_attention(call) && !is_counted(call)))
        return;
    const sq_cost cost = sq_op_cost(call->op, call->pass, call->dtype, call->axis);
    const double read = bytes_read(call, list);
    const double written = bytes_of(list->out, call->out, 0, list->n_out);
    if (cost.bytes_read != read || cost.bytes_written != written)
        fail_msg("%s %s %s: reads %.0f, not %.0f; writes %.0f, not %.0f", call->op->name,
                 sq_pass_name(call->pass), shape, read, cost.bytes_read, written,
                 cost.bytes_written);
}

/* How pass bwd differs from reading the inputs of pass fwd and the gradients of its outputs: names,
 * all of one letter, of the inputs that it has no use for, and of the outputs that it takes instead.
 */
typedef struct {
    const char *op, *unread, *value;
} backward_reads;

static const backward_reads exceptions[] = {
    {"attention", "", "o"}, /* mean of dp: do . o */
    {"local_attention", "", "o"},
    {"linear", "br", ""},
    {"rmsnorm", "xbr", "s"}, /* s is x + r; see reads_norm */
    {"layernorm", "xbr", "s"},
    {"group_norm", "b", ""},
    {"rope", "x", ""},
    {"xpos", "x", ""},
    {NULL, "", ""},
};

/* What the options of a norm add: x where there is no s, the bias where the gate comes after it. */
static bool reads_norm(const sq_call *call, char name)
{
    const bool has_s = sq_axis_find(call->op->axes, "residual") >= 0 && axis_of(call, "residual");
    const bool is_post = sq_axis_find(call->op->axes, "gate") >= 0 && axis_of(call, "gate") == 2;
    return strstr(call->op->name, "norm") && ((name == 'x' && !has_s) || (name == 'b' && is_post));
}

static bool is_read_back(const sq_call *call, const sq_tensor_list *list, int i)
{
    const char *name = list->in[i].name;
    const backward_reads *e = exceptions;
    while (e->op && strcmp(e->op, call->op->name) != 0)
        e++;
    if (i >= list->first_value)
        return strcmp(name, e->value) == 0;
    return i >= list->first_gradient || strlen(name) > 1 || !strchr(e->unread, *name) ||
           reads_norm(call, *name);
}

/* linear: what its activation was taken of, too, which pass fwd keeps. */
static double bytes_read_back(const sq_call *call, const sq_tensor_list *list)
{
    double bytes = 0;
    for (int i = 0; i < list->n_in; i++)
        if (list->in[i].name && is_read_back(call, list, i))
            bytes += (double)sq_tensor_bytes(&call->in[i]);
    if (call->op == &sq_op_linear && axis_of(call, "act") != 0)
        bytes += bytes_of(list->in, call->in, list->first_gradient, list->first_value);
    if (is_attention(call))
        bytes += bytes_read(call, list) - bytes_of(list->in, call->in, 0, list->first_gradient);
    return bytes;
}

/* Every gradient is written. */
static void check_backward_bytes(const sq_call *call, const sq_tensor_list *list, const char *shape)
{
    if (call->pass != SQ_PASS_BWD || (is_attention(call) && !is_counted(call)))
        return;
    const sq_cost cost = sq_op_cost(call->op, call->pass, call->dtype, call->axis);
    const double written = bytes_of(list->out, call->out, 0, list->n_out);
    const double read = bytes_read_back(call, list);
    if (cost.bytes_written != written || cost.bytes_read != read)
        fail_msg("%s bwd %s: writes %.0f, not %.0f; reads %.0f, not %.0f", call->op->name, shape,
                 written, cost.bytes_written, read, cost.bytes_read);
}

static void forward_bytes_are_those_of_the_tensors(void **state)
{
    (void)state;
    each_call(check_forward_bytes);
}

static void backward_bytes_are_those_of_the_tensors(void **state)
{
    (void)state;
    each_call(check_backward_bytes);
}

/* --- flops --- */

static void check_attention(const sq_call *call, const sq_tensor_list *list, const char *shape)
{
    (void)list;
    if (!is_attention(call) || !is_counted(call))
        return;
    const sq_cost cost = sq_op_cost(call->op, call->pass, call->dtype, call->axis);
    const double products = call->pass == SQ_PASS_BWD ? 5 : 2, pairs = count_visible(call).pairs;
    const double matrix = 2 * products * axis_of(call, "D") * pairs;
    const turned rope = count_turned(call);
    const double flops = matrix + rope.flops + (axis_of(call, "pos") == 3 ? 2 * pairs : 0);
    if (cost.matrix_flops != matrix || cost.flops != flops || cost.special != pairs + rope.special)
        fail_msg("attention %s %s: %.0f pairs: %.0f flop by products, not %.0f, of %.0f, not %.0f; "
                 "special %.0f, not %.0f",
                 sq_pass_name(call->pass), shape, pairs, matrix, cost.matrix_flops, flops,
                 cost.flops, pairs + rope.special, cost.special);
}

static void attention_counts_each_visible_pair(void **state)
{
    static const char *const more[] = {"B=2,L=5,Lk=3,H=2,D=8,pos=rope,shift=100",
                                       "B=2,L=3,Lk=9,H=2,D=8,pos=rope,shift=-9",
                                       "B=1,L=3,Lk=9,H=4,Hkv=2,D=8,pos=rope-interleaved,rotary=4",
                                       "B=1,L=7,H=3,D=4,pos=alibi,window=3", NULL};
    (void)state;
    each_call(check_attention);
    for (int p = 0; p < SQ_OWN_PASSES; p++)
        for (const char *const *shape = more; *shape; shape++) {
            sq_call call;
            sq_error err = {.status = SQ_OK};
            if (sq_call_parse(&sq_op_attention, sq_own_passes[p], SQ_DTYPE_BF16, *shape, &call, &err) !=
                SQ_OK)
                fail_msg("%s: %s", *shape, err.message);
            check_attention(&call, NULL, *shape);
        }
}

/* Twice the batch is twice the work of tokens; what parameters cost alone is no more for it. */
static void check_batch(const sq_call *call, const sq_tensor_list *list, const char *shape)
{
    sq_axis_value one[SQ_MAX_AXES], two[SQ_MAX_AXES], three[SQ_MAX_AXES];
    (void)list;
    memcpy(one, call->axis, sizeof one);
    memcpy(two, call->axis, sizeof two);
    memcpy(three, call->axis, sizeof three);
    two[SQ_AXIS_B] += 1;
    three[SQ_AXIS_B] += 2;
    const sq_cost a = sq_op_cost(call->op, call->pass, call->dtype, one);
    const sq_cost b = sq_op_cost(call->op, call->pass, call->dtype, two);
    const sq_cost c = sq_op_cost(call->op, call->pass, call->dtype, three);
    const double step = b.flops - a.flops, next = c.flops - b.flops;
    if (!(step > 0) || fabs(next - step) > 1e-9 * next || a.matrix_flops > a.flops || a.special < 0)
        fail_msg("%s %s %s: flop of one more sequence: %.17g, of the next %.17g", call->op->name,
                 sq_pass_name(call->pass), shape, step, next);
}

static void work_grows_with_the_batch(void **state)
{
    (void)state;
    each_call(check_batch);
}

/* --- the calls that are counted on a GPU --- */

static bool has_case(const sq_op *op, sq_pass pass)
{
    for (const sq_cost_case *c = sq_cost_cases; c->op; c++)
        if (strcmp(c->op, op->name) == 0 && c->pass == pass)
            return true;
    return false;
}

static void check_is_counted(const sq_call *call, const sq_tensor_list *list, const char *shape)
{
    (void)list;
    (void)shape;
    if (!has_case(call->op, call->pass))
        fail_msg("no case for %s %s", call->op->name, sq_pass_name(call->pass));
}

static void every_pass_is_counted_in_a_large_call(void **state)
{
    (void)state;
    each_call(check_is_counted);
    for (const sq_cost_case *c = sq_cost_cases; c->op; c++) {
        sq_call call;
        sq_tensor_list list;
        sq_error err = {.status = SQ_OK};
        double held = 0;
        if (sq_call_parse(sq_op_find(c->op), c->pass, SQ_DTYPE_BF16, c->shape, &call, &err) !=
                SQ_OK ||
            sq_call_shape(&call, &list, &err) != SQ_OK)
            fail_msg("%s %s: %s", c->op, c->shape, err.message);
        held += bytes_of(list.in, call.in, 0, list.n_in);
        held += bytes_of(list.out, call.out, 0, list.n_out);
        const sq_cost cost = sq_op_cost(call.op, c->pass, call.dtype, call.axis);
        if (cost.bytes_read + cost.bytes_written < FOUR_L2 || held > MOST_HELD)
            fail_msg("%s %s %s moves %g bytes and holds %g", c->op, sq_pass_name(c->pass), c->shape,
                     cost.bytes_read + cost.bytes_written, held);
        if (!c->is_compulsory && !*c->why)
            fail_msg("%s %s: what moves besides?", c->op, sq_pass_name(c->pass));
        if (c->tensor > 0 && cost.matrix_flops == 0)
            fail_msg("%s %s has no products", c->op, sq_pass_name(c->pass));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_bytes_are_those_of_the_tensors),
        cmocka_unit_test(backward_bytes_are_those_of_the_tensors),
        cmocka_unit_test(attention_counts_each_visible_pair),
        cmocka_unit_test(work_grows_with_the_batch),
        cmocka_unit_test(every_pass_is_counted_in_a_large_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
