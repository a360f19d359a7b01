/* decay_slice: see decay_slice.h. */
#include "kernels/shared/decay_slice.h"

#include <stdio.h>

#include "kernels/shared/rows.h"

sq_decay_part sq_decay_part_pick(sq_pick pick, int64_t batch, int64_t heads, int64_t values,
                                 int64_t columns, char *what, size_t size)
{
    const sq_decay_part part = {.b = sq_pick_start(pick, 0, batch, 1),
                                .h = sq_pick_start(pick, 1, heads, 1),
                                .first = sq_pick_start(pick, 2, values, columns),
                                .count = columns};
    snprintf(what, size, "b=%lld h=%lld column=%lld..%lld", (long long)part.b, (long long)part.h,
             (long long)part.first, (long long)(part.first + columns));
    return part;
}

static void cut(sq_tensor *t, int dim, int64_t start, int64_t count)
{
    if (dim >= 0 && dim < t->rank)
        *t = sq_tensor_slice(t, dim, start, count);
}

void sq_decay_cut_tensors(sq_tensor *t, const sq_decay_cut *by, int n, sq_decay_part part,
                          int64_t heads)
{
    for (int i = 0; i < n; i++) {
        const int head = by[i].head;
        const int64_t per_head = head >= 0 && head < t[i].rank ? heads / t[i].dim[head] : 1;
        cut(&t[i], by[i].batch, part.b, 1);
        cut(&t[i], head, part.h / per_head, 1);
        cut(&t[i], by[i].value, part.first, part.count);
    }
}
