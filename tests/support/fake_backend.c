/* fake_backend: see fake_backend.h. */
#include "tests/support/fake_backend.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MEMORY_BYTES = 256 << 20, FULL_BYTES = 200 << 10, RIGHT_LAUNCHES = 5 };

static bool is_sick; /* a sticky error: nothing works any more */
static int launches; /* since the length changed */
static double last_length;

/* Is the fault asked for, at this length? 0: whatever the length. */
static bool has_fault(const char *name, double length)
{
    const char *script = getenv("FAKE_GPU");
    char words[512], *rest = NULL, *at;
    snprintf(words, sizeof words, "%s", script ? script : "");
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if ((at = strchr(word, '@')))
            *at++ = '\0';
        if (strcmp(word, name) == 0 && (!at || length == 0 || strtod(at, NULL) == length))
            return true;
    }
    return false;
}

static sq_status sick(sq_error *err)
{
    return sq_fail(err, SQ_DEVICE,
                   "an illegal memory access was encountered (cudaErrorIllegalAddress)");
}

/* --- the backend --- */

static int count(sq_error *why)
{
    if (!has_fault("absent", 0))
        return 1;
    sq_fail(why, SQ_UNSUPPORTED, "no CUDA device: none is visible");
    return 0;
}

static const sq_device *facts(const sq_backend_device *device)
{
    static const sq_device gpu = {.backend = "cuda",
                                  .uuid = "GPU-00000000-fake",
                                  .name = "Fake GPU",
                                  .arch = "sm_90",
                                  .pci = "0000:01:00.0",
                                  .sm_count = 132,
                                  .memory_bytes = MEMORY_BYTES,
                                  .l2_bytes = 1 << 20,
                                  .max_sm_mhz = 1980,
                                  .max_memory_mhz = 2619,
                                  .memory_bus_bits = 5120,
                                  .compute_major = 9,
                                  .shared_bytes_per_block = 227 << 10};
    (void)device;
    return &gpu;
}

static sq_status memory(sq_backend_device *device, size_t *free_bytes, size_t *total_bytes,
                        sq_error *err)
{
    (void)device;
    *free_bytes = *total_bytes = MEMORY_BYTES;
    return is_sick ? sick(err) : SQ_OK;
}

static sq_status alloc(sq_backend_device *device, size_t bytes, void **out, sq_error *err)
{
    *out = NULL;
    if (is_sick)
        return sick(err);
    if (bytes > MEMORY_BYTES || (bytes > FULL_BYTES && has_fault("full", 0)))
        return sq_fail(err, SQ_OUT_OF_MEMORY, "allocate %zu bytes: out of memory", bytes);
    return sq_backend_cpu.alloc(device, bytes, out, err);
}

static sq_status fill(sq_backend_device *device, const sq_tensor *view, int64_t base, sq_draw draw,
                      uint64_t seed, uint32_t id, sq_error *err)
{
    return is_sick ? sick(err) : sq_backend_cpu.fill(device, view, base, draw, seed, id, err);
}

static sq_status checksum(sq_backend_device *device, const sq_tensor *tensor, uint64_t *out,
                          sq_error *err)
{
    return is_sick ? sick(err) : sq_backend_cpu.checksum(device, tensor, out, err);
}

static sq_status wait_for_launches(sq_backend_device *device, sq_error *err)
{
    return is_sick ? sick(err) : sq_backend_cpu.sync(device, err);
}

static sq_status start_clock(sq_backend_device *device, sq_error *err)
{
    (void)device;
    return is_sick ? sick(err) : SQ_OK;
}

static sq_status stop_clock(sq_backend_device *device, double *mhz, sq_error *err)
{
    (void)device;
    *mhz = has_fault("downclocked", 0) ? 900 : 1755;
    return is_sick ? sick(err) : SQ_OK;
}

const sq_backend *fake_backend(void)
{
    static sq_backend fake;
    fake = sq_backend_cpu;
    fake.name = "cuda";
    fake.count = count;
    fake.facts = facts;
    fake.memory = memory;
    fake.alloc = alloc;
    fake.fill = fill;
    fake.checksum = checksum;
    fake.sync = wait_for_launches;
    fake.clock_start = start_clock;
    fake.clock_stop = stop_clock;
    fake.probes = NULL; /* ceilings of a fake are of no use, and take their time */
    return &fake;
}

/* --- the provider --- */

static sq_status supports(const sq_call *call, const sq_device *device, sq_error *why)
{
    (void)device;
    sq_tensor_list list;
    return sq_op_tensors(call->op, call->pass, call->dtype, call->axis, &list, why);
}

static sq_status prepare(const sq_call *call, void **plan, sq_error *err)
{
    *plan = NULL;
    if (has_fault("unplanned", call->axis[SQ_AXIS_L]))
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no room for a plan");
    return SQ_OK;
}

static void release(void *plan)
{
    (void)plan;
}

/* What never comes back. */
static void leave(double length)
{
    if (has_fault("exit", length))
        _exit(9);
    if (has_fault("crash", length)) {
        signal(SIGSEGV, SIG_DFL); /* sanitizers have a handler of their own */
        raise(SIGSEGV);
    }
    while (has_fault("hang", length))
        pause();
}

static void damage(const sq_call *call, double length)
{
    const sq_tensor *out = &call->out[0];
    size_t size = sq_dtype_size(out->dtype);
    unsigned char *last = (unsigned char *)out->data + (size_t)(sq_tensor_count(out) - 1) * size;
    if (has_fault("nan", length))
        memset(last, 0xff, size);
    if (has_fault("wrong", length))
        memset(last, 0x44, size); /* hundreds, in every float type */
    if (has_fault("changes", length) && launches > RIGHT_LAUNCHES)
        last[0] ^= 1;
}

static sq_status launch(const sq_call *call, void *plan, sq_error *err)
{
    double length = call->axis[SQ_AXIS_L];
    (void)plan;
    launches = length == last_length ? launches + 1 : 1;
    last_length = length;
    if (is_sick)
        return sick(err);
    leave(length);
    if (has_fault("fail", length))
        return sq_fail(err, SQ_DEVICE, "too many resources requested for launch");
    if (has_fault("slow", length))
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    SQ_TRY(call->op->reference(call, err));
    damage(call, length);
    is_sick = has_fault("sticky", length);
    return SQ_OK;
}

const sq_provider *fake_providers(const sq_op *op)
{
    static const sq_provider providers[] = {{.name = "cuda/portable",
                                             .note = "the reference, as if on a GPU",
                                             .supports = supports,
                                             .prepare = prepare,
                                             .launch = launch,
                                             .release = release},
                                            {.name = NULL}};
    (void)op;
    return providers;
}
