/* safetensors: what is read, what is refused by name, and 20,000 damaged files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "bench/safetensors.h"
#include "core/rng.h"

static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                             "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                             "\"b\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[24,32]},"
                             "\"c\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[32,34]}}";

static char path[64];

static void write_file(const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

/* A file of `head` and the 34 bytes of data; returns its length. */
static size_t build(const char *head, unsigned char *out)
{
    const float a[6] = {1, 2, 3, 4, 5, -6.5F};
    const int32_t b[2] = {7, -8};
    const uint16_t c = 0x3fc0; /* 1.5 */
    const uint64_t length = strlen(head);
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)(length >> (8 * i));
    memcpy(out + 8, head, length);
    memcpy(out + 8 + length, a, sizeof a);
    memcpy(out + 8 + length + 24, b, sizeof b);
    memcpy(out + 8 + length + 32, &c, sizeof c);
    return 8 + length + 34;
}

static void reads(void **state)
{
    (void)state;
    unsigned char bytes[1024];
    sq_safetensors file = {.map = NULL};
    sq_error err;
    write_file(bytes, build(header, bytes));
    assert_int_equal(sq_safetensors_open(path, &file, &err), SQ_OK);
    assert_int_equal(file.count, 3);
    const sq_stored_tensor *a = sq_safetensors_find(&file, "a");
    assert_non_null(a);
    assert_int_equal(a->rank, 2);
    assert_int_equal(a->dim[1], 3);
    assert_true(sq_stored_number(a, 5) == -6.5);
    assert_true(sq_stored_number(sq_safetensors_find(&file, "b"), 1) == -8);
    assert_true(sq_stored_number(sq_safetensors_find(&file, "c"), 0) == 1.5);
    assert_null(sq_safetensors_find(&file, "__metadata__"));
    sq_safetensors_close(&file);
}

static void refuses(const char *head, const char *with)
{
    unsigned char bytes[1024];
    sq_safetensors file = {.map = NULL};
    sq_error err = {.status = SQ_OK};
    write_file(bytes, build(head, bytes));
    assert_int_equal(sq_safetensors_open(path, &file, &err), SQ_BAD_ARGUMENT);
    if (!strstr(err.message, with))
        fail_msg("%s: \"%s\" says nothing of %s", head, err.message, with);
    sq_safetensors_close(&file);
}

static void refuses_what_is_wrong(void **state)
{
    (void)state;
    refuses("[]", "no JSON object");
    refuses("{\"a\":", "no JSON object");
    refuses("{\"a\":1}", "type \"?\"");
    refuses("{\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}", "\"F64\"");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", "dim 0");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", "dim 0");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,4]}}",
            "makes no size");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}",
            "0 to 6 dims");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", "do not hold 8");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[28,36]}}", "of the 34");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", "do not hold 8");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":8}}", "do not hold 8");
}

static void refuses_what_is_no_file(void **state)
{
    (void)state;
    sq_safetensors file = {.map = NULL};
    sq_error err;
    write_file("short", 5);
    assert_int_equal(sq_safetensors_open(path, &file, &err), SQ_BAD_ARGUMENT);
    sq_safetensors_close(&file);
    assert_int_equal(sq_safetensors_open("/", &file, &err), SQ_BAD_ARGUMENT);
    sq_safetensors_close(&file);
    assert_int_equal(sq_safetensors_open("/nowhere/at-all", &file, &err), SQ_IO);
    sq_safetensors_close(&file);
}

/* Flipped, cut and grown bytes: opened or refused, every element of what was opened readable. */
static void survives_damage(void **state)
{
    (void)state;
    unsigned char good[1024], bad[1024];
    const size_t length = build(header, good);
    double sum = 0;
    int opened = 0;
    for (uint64_t n = 0; n < 20000; n++) {
        sq_safetensors file = {.map = NULL};
        memcpy(bad, good, length);
        const uint64_t bits = sq_rng_bits(11, 0, n);
        const int edits = 1 + (int)(bits % 3);
        for (int e = 0; e < edits; e++) {
            const uint64_t where = sq_rng_bits(12, (uint32_t)e, n);
            bad[where % length] = (unsigned char)(where >> 32);
        }
        write_file(bad, bits % 7 == 0 ? (bits >> 8) % length : length);
        if (sq_safetensors_open(path, &file, NULL) == SQ_OK) {
            opened++;
            for (int t = 0; t < file.count; t++)
                for (int64_t i = 0; i < file.tensor[t].count; i++)
                    sum += sq_stored_number(&file.tensor[t], i) != 0;
        }
        sq_safetensors_close(&file);
    }
    assert_true(opened > 0 && opened < 20000);
    assert_true(sum > 0);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads),
        cmocka_unit_test(refuses_what_is_wrong),
        cmocka_unit_test(refuses_what_is_no_file),
        cmocka_unit_test(survives_damage),
    };
    snprintf(path, sizeof path, "/tmp/seqmark-safetensors-%ld", (long)getpid());
    return cmocka_run_group_tests(tests, NULL, remove_file);
}
