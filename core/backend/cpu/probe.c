/* probe: see probe.h. Plain loops over all cores; the compiler vectorises them for the architecture
 * that the program was built for, which may be less than the machine has. */
#include "core/backend/cpu/probe.h"

#include <stdint.h>
#include <stdlib.h>

/* Three arrays of this size; a last-level cache of hundreds of MiB would hold them, and then the
 * figure is the cache's. */
enum { ARRAY_WORDS = 16 << 20 };

enum { ID_COPY, ID_READ, ID_WRITE, ID_TRIAD, ID_FMA };

/* FMA_LANES chains that do not wait for each other; an even number of steps brings x back. */
enum { FMA_LANES = 64, FMA_STEPS = 1 << 16, FMA_BLOCKS = 16 };

typedef struct {
    sq_probe_run run;
    int id;
    sq_backend_device *device;
    uint32_t *from, *to;
    float *b;     /* of the triad */
    uint64_t sum; /* of the last read */
    double wrong; /* results of the last FMA launch that are not what they should be */
} cpu_run;

static void close_run(sq_probe_run *run)
{
    cpu_run *r = (cpu_run *)run;
    if (!r)
        return;
    sq_backend_cpu.free(r->device, r->from);
    sq_backend_cpu.free(r->device, r->to);
    sq_backend_cpu.free(r->device, r->b);
    free(r);
}

/* Element i is i; the floats are small integers, so that the triad is exact. */
static void fill_arrays(cpu_run *r)
{
#pragma omp parallel for schedule(static)
    for (int i = 0; i < ARRAY_WORDS; i++) {
        r->from[i] = (uint32_t)i;
        r->to[i] = 0;
        if (r->b)
            r->b[i] = (float)(i & 1023);
    }
}

static double amount_of(int id)
{
    const double bytes = 4.0 * ARRAY_WORDS;
    switch (id) {
    case ID_COPY:
        return 2 * bytes;
    case ID_TRIAD:
        return 3 * bytes;
    case ID_FMA:
        return 2e-3 * FMA_LANES * FMA_STEPS * FMA_BLOCKS;
    default:
        return bytes;
    }
}

static sq_status alloc_arrays(cpu_run *r, sq_error *err)
{
    const size_t bytes = sizeof(uint32_t) * ARRAY_WORDS;
    void *data[3] = {NULL};
    sq_status status = SQ_OK;
    for (int i = 0; i < (r->id == ID_TRIAD ? 3 : 2) && status == SQ_OK; i++)
        status = sq_backend_cpu.alloc(r->device, bytes, &data[i], err);
    r->from = data[0];
    r->to = data[1];
    r->b = data[2];
    if (status == SQ_OK)
        fill_arrays(r);
    return status;
}

static sq_status open_run(const sq_probe *probe, sq_backend_device *device, void *stream,
                          sq_probe_run **out, sq_error *err)
{
    (void)stream;
    cpu_run *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "%s: no memory", probe->name);
    r->id = probe->id;
    r->device = device;
    r->run = (sq_probe_run){.variants = 1, .amount = amount_of(probe->id)};
    sq_status status = r->id == ID_FMA ? SQ_OK : alloc_arrays(r, err);
    if (status == SQ_OK)
        *out = &r->run;
    else
        close_run(&r->run);
    return status;
}

static sq_status choose(sq_probe_run *run, int variant, sq_error *err)
{
    (void)run, (void)variant, (void)err;
    return SQ_OK;
}

/* --- the loops --- */

static void copy_array(cpu_run *r)
{
#pragma omp parallel for schedule(static)
    for (int i = 0; i < ARRAY_WORDS; i++)
        r->to[i] = r->from[i];
}

static void read_array(cpu_run *r)
{
    uint64_t sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum)
    for (int i = 0; i < ARRAY_WORDS; i++)
        sum += r->from[i];
    r->sum = sum;
}

static void write_array(cpu_run *r)
{
#pragma omp parallel for schedule(static)
    for (int i = 0; i < ARRAY_WORDS; i++)
        r->to[i] = (uint32_t)i;
}

static void triad_array(cpu_run *r)
{
    float *a = (float *)(void *)r->to;
    const uint32_t *c = r->from;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < ARRAY_WORDS; i++)
        a[i] = r->b[i] + 2.0f * (float)(int)c[i];
}

/* x = 1 - x, as a product so that nothing folds: `minus` is -1, known at run time only. */
static double fma_block(float minus)
{
    float x[FMA_LANES], wrong = 0;
    for (int k = 0; k < FMA_LANES; k++)
        x[k] = (float)k / FMA_LANES;
    for (int step = 0; step < FMA_STEPS; step++)
        for (int k = 0; k < FMA_LANES; k++)
            x[k] = x[k] * minus + 1.0f;
    for (int k = 0; k < FMA_LANES; k++)
        wrong += x[k] != (float)k / FMA_LANES;
    return wrong;
}

static void run_fma(cpu_run *r)
{
    volatile float minus = -1.0f;
    float factor = minus;
    double wrong = 0;
#pragma omp parallel for schedule(static) reduction(+ : wrong)
    for (int block = 0; block < FMA_BLOCKS; block++)
        wrong += fma_block(factor);
    r->wrong = wrong;
}

static sq_status launch(sq_probe_run *run, sq_error *err)
{
    static void (*const loops[])(cpu_run *) = {[ID_COPY] = copy_array,
                                               [ID_READ] = read_array,
                                               [ID_WRITE] = write_array,
                                               [ID_TRIAD] = triad_array,
                                               [ID_FMA] = run_fma};
    cpu_run *r = (cpu_run *)run;
    (void)err;
    loops[r->id](r);
    return SQ_OK;
}

/* --- checks --- */

static bool is_filled(const cpu_run *r)
{
    bool is_good = true;
    for (int i = 0; i < ARRAY_WORDS && is_good; i++)
        is_good = r->to[i] == (uint32_t)i;
    return is_good;
}

static bool is_triad(const cpu_run *r)
{
    const float *a = (const float *)(const void *)r->to;
    bool is_good = true;
    for (int i = 0; i < ARRAY_WORDS && is_good; i++)
        is_good = a[i] == (float)(i & 1023) + 2.0f * (float)i;
    return is_good;
}

static sq_status check(sq_probe_run *run, sq_error *err)
{
    const cpu_run *r = (const cpu_run *)run;
    const uint64_t words = ARRAY_WORDS;
    bool is_good = r->id == ID_READ    ? r->sum == words * (words - 1) / 2
                   : r->id == ID_TRIAD ? is_triad(r)
                   : r->id == ID_FMA   ? r->wrong == 0
                                       : is_filled(r);
    return is_good ? SQ_OK : sq_fail(err, SQ_MISMATCH, "the loop computed something else");
}

#define PROBE(name, id)                                                                            \
    {                                                                                              \
        name, SQ_PROBE_RATE, SQ_PROBE_COLD, NULL, id, open_run, choose, launch, check, close_run   \
    }

const sq_probe sq_cpu_probes[] = {
    PROBE("copy_gbytes_per_s", ID_COPY),   PROBE("read_gbytes_per_s", ID_READ),
    PROBE("write_gbytes_per_s", ID_WRITE), PROBE("triad_gbytes_per_s", ID_TRIAD),
    PROBE("fma_f32_tflops", ID_FMA),       {.name = NULL},
};
