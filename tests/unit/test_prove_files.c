/* prove_files: outputs in files are judged as those of a worker are: right ones pass whole and sliced,
 * gradients sliced where those of the outputs were 0 elsewhere; one wrong element, a NaN, a file too
 * short or too long do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/proof_slice.h"
#include "bench/subject.h"
#include "bench/worker/prove_files.h"

enum { SEED = 11 };
#define SMALL "attention@external:fake/any/fwd/f32/B=1,L=9,H=2,D=64/clean-cold,plain,unlocked"
#define SLICED "retention@external:fake/any/fwd/f32/B=3,L=70,H=4,K=16,V=64/clean-cold,plain,unlocked"

/* A cell with its true output in memory and in a file. */
typedef struct {
    sq_rig rig;
    sq_cell cell;
    sq_subject subject;
    sq_place place;
    char path[64];
    double max_work;
} specimen;

static void write_file(const specimen *s, const void *data, size_t bytes)
{
    FILE *file = fopen(s->path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static size_t output_bytes(const specimen *s) { return sq_tensor_bytes(&s->place.call.out[0]); }

static specimen make(const char *key, double max_work)
{
    sq_error err = {.status = SQ_OK};
    specimen s = {.rig = {.backend = &sq_backend_cpu, .providers = sq_providers_cpu},
                  .max_work = max_work};
    assert_int_equal(sq_backend_cpu.open(0, &s.rig.device, &err), SQ_OK);
    if (sq_cell_parse(key, &s.cell, &s.subject, &err) != SQ_OK)
        fail_msg("%s", err.message);
    sq_call call = {.op = s.subject.op, .pass = s.cell.pass, .dtype = s.cell.dtype};
    memcpy(call.axis, s.cell.value, sizeof call.axis);
    assert_int_equal(sq_place_plan(&s.rig, &call, SQ_LAYOUT_DENSE, &s.place, &err), SQ_OK);
    s.place.rig = &s.rig;
    assert_int_equal(sq_place_fill(&s.place, SEED, 0, 0, &err), SQ_OK);
    assert_int_equal(sq_op_reference(&s.place.call, &err), SQ_OK);
    strcpy(s.path, "/tmp/sq_prove_XXXXXX");
    close(mkstemp(s.path));
    write_file(&s, s.place.call.out[0].data, output_bytes(&s));
    return s;
}

static void unmake(specimen *s)
{
    s->place.rig = &s->rig;
    sq_place_free(&s->place);
    s->rig.backend->close(s->rig.device);
    unlink(s->path);
}

static sq_status prove(specimen *s, const char *proved, sq_proof *proof, char sum[SQ_HASH_TEXT])
{
    const char *path = s->path;
    sq_proof_files files = {.op = s->subject.op,
                            .cell = &s->cell,
                            .seed = SEED,
                            .max_work = s->max_work,
                            .paths = &path,
                            .n_paths = 1,
                            .proved = proved};
    return sq_prove_files(&s->rig, &files, proof, sum, NULL);
}

static void expect(specimen *s, bool is_ok, const char *reason)
{
    sq_proof proof;
    char sum[SQ_HASH_TEXT];
    assert_int_equal(prove(s, "", &proof, sum), SQ_OK);
    assert_int_equal(proof.is_ok, is_ok);
    if (!strstr(proof.reason, reason))
        fail_msg("\"%s\" does not say \"%s\"", proof.reason, reason);
}

static void right_outputs_pass(void **state)
{
    (void)state;
    specimen small = make(SMALL, 1e9), sliced = make(SLICED, 1e4);
    sq_proof proof;
    char sum[SQ_HASH_TEXT];
    expect(&small, true, "");
    assert_int_equal(prove(&sliced, "", &proof, sum), SQ_OK);
    assert_true(proof.is_ok);
    assert_true(proof.checks[0].slice[0] != 0);
    unmake(&small);
    unmake(&sliced);
}

/* --- gradients --- */

#define BACKWARD "rmsnorm@external:fake/any/bwd/f32/B=2,L=40,D=16/clean-cold,plain,unlocked"
enum { ROWS = 80, WIDTH = 16, GRADIENTS = 2 };

/* Rows [first, first + count) of the gradient of y are as drawn, all others 0. */
static void differentiate(const specimen *s, int64_t first, int64_t count, const char *const *paths)
{
    sq_error err = {.status = SQ_OK};
    sq_call call = s->place.call;
    float *dy = call.in[s->place.list.first_gradient].data;
    for (int64_t i = 0; i < ROWS * WIDTH; i++)
        if (i / WIDTH < first || i / WIDTH >= first + count)
            dy[i] = 0;
    assert_int_equal(s->subject.op->backward(&call, &err), SQ_OK);
    for (int i = 0, k = 0; k < GRADIENTS; i++) {
        if (!s->place.list.out[i].name)
            continue;
        FILE *file = fopen(paths[k++], "wb");
        const size_t bytes = sq_tensor_bytes(&call.out[i]);
        assert_int_equal(fwrite(call.out[i].data, 1, bytes, file), bytes);
        assert_int_equal(fclose(file), 0);
    }
}

/* Which rows the proof is of, as a peer is told: the first, and how many. */
static void told_rows(const specimen *s, int64_t *first, int64_t *count)
{
    char what[128];
    sq_call forward, part;
    sq_pick pick = {.seed = SEED, .max_work = s->max_work};
    int64_t at[SQ_MAX_RANK];
    assert_int_equal(sq_proof_part(&s->place.call, &s->place.list, pick, &forward, &part, what,
                                   sizeof what, NULL),
                     SQ_OK);
    assert_true(what[0] != 0);
    sq_proof_window(&part.out[0], &forward.out[0], at);
    assert_int_equal(part.out[0].dim[0], 1);
    assert_int_equal(part.out[0].dim[2], WIDTH);
    *first = at[0] * (ROWS / 2) + at[1];
    *count = part.out[0].dim[1];
}

static sq_proof prove_gradients(const specimen *s, const char *const *paths)
{
    sq_proof proof;
    char sum[SQ_HASH_TEXT];
    sq_proof_files files = {.op = s->subject.op,
                            .cell = &s->cell,
                            .seed = SEED,
                            .max_work = s->max_work,
                            .paths = paths,
                            .n_paths = GRADIENTS,
                            .proved = ""};
    assert_int_equal(sq_prove_files(&s->rig, &files, &proof, sum, NULL), SQ_OK);
    return proof;
}

static void gradients_of_a_slice_are_those_by_it_alone(void **state)
{
    (void)state;
    specimen s = make(BACKWARD, 2e3);
    char path[80];
    snprintf(path, sizeof path, "%s_w", s.path);
    const char *const paths[GRADIENTS] = {s.path, path};
    int64_t first, count;
    told_rows(&s, &first, &count);
    assert_true(count > 0 && count < ROWS / 2);
    differentiate(&s, 0, ROWS, paths);
    assert_false(prove_gradients(&s, paths).is_ok);
    differentiate(&s, first, count, paths);
    sq_proof proof = prove_gradients(&s, paths);
    assert_true(proof.is_ok && proof.n_checks == GRADIENTS && proof.checks[0].slice[0] != 0);
    unlink(path);
    unmake(&s);
}

/* --- what is wrong --- */

static void wrong_elements_do_not(void **state)
{
    (void)state;
    specimen s = make(SMALL, 1e9);
    float *out = s.place.call.out[0].data, held = out[77];
    out[77] = held + 1;
    write_file(&s, out, output_bytes(&s));
    expect(&s, false, "at element 77");
    out[77] = NAN;
    write_file(&s, out, output_bytes(&s));
    expect(&s, false, "nan");
    unmake(&s);
}

static void another_seed_does_not(void **state)
{
    (void)state;
    specimen s = make(SMALL, 1e9);
    const char *path = s.path;
    sq_proof_files files = {.op = s.subject.op,
                            .cell = &s.cell,
                            .seed = SEED + 1,
                            .max_work = 1e9,
                            .paths = &path,
                            .n_paths = 1,
                            .proved = ""};
    sq_proof proof;
    char sum[SQ_HASH_TEXT];
    assert_int_equal(sq_prove_files(&s.rig, &files, &proof, sum, NULL), SQ_OK);
    assert_false(proof.is_ok);
    unmake(&s);
}

static void files_of_another_size_do_not(void **state)
{
    (void)state;
    specimen s = make(SMALL, 1e9);
    char *more = calloc(1, output_bytes(&s) + 1);
    write_file(&s, s.place.call.out[0].data, output_bytes(&s) - 4);
    expect(&s, false, "o: the file has 4604 bytes, the tensor 4608");
    write_file(&s, more, output_bytes(&s) + 1);
    expect(&s, false, "4609 bytes");
    write_file(&s, more, 0);
    expect(&s, false, "0 bytes");
    free(more);
    unmake(&s);
}

static void what_cannot_be_read_is_an_error(void **state)
{
    (void)state;
    specimen s = make(SMALL, 1e9);
    sq_proof proof;
    char sum[SQ_HASH_TEXT];
    unlink(s.path);
    assert_int_equal(prove(&s, "", &proof, sum), SQ_IO);
    strcpy(s.path, "/dev/null");
    assert_int_equal(prove(&s, "", &proof, sum), SQ_IO);
    strcpy(s.path, "/nowhere");
    unmake(&s);
}

static void only_a_regular_file_is_read(void **state)
{
    (void)state;
    specimen s = make(SMALL, 1e9);
    char path[64], link[64], sum[SQ_HASH_TEXT];
    sq_proof proof;
    expect(&s, true, "");
    strcpy(path, s.path);
    snprintf(link, sizeof link, "%.50s_link", path);
    assert_int_equal(symlink(path, link), 0);
    snprintf(s.path, sizeof s.path, "%s", link);
    assert_int_equal(prove(&s, "", &proof, sum), SQ_IO);
    assert_int_equal(unlink(link), 0);
    alarm(10); /* an open that waits for a writer would wait for ever */
    assert_int_equal(mkfifo(link, 0600), 0);
    assert_int_equal(prove(&s, "", &proof, sum), SQ_IO);
    alarm(0);
    assert_int_equal(unlink(path), 0);
    unmake(&s);
}

static void a_known_checksum_stands_for_the_proof(void **state)
{
    (void)state;
    specimen s = make(SMALL, 1e9);
    sq_proof proof;
    char right[SQ_HASH_TEXT], sum[SQ_HASH_TEXT];
    assert_int_equal(prove(&s, "", &proof, right), SQ_OK);
    assert_int_equal(proof.n_checks, 1);
    assert_int_equal(prove(&s, right, &proof, sum), SQ_OK);
    assert_true(proof.is_ok && proof.n_checks == 0);
    assert_string_equal(sum, right);
    ((float *)s.place.call.out[0].data)[5] += 1;
    write_file(&s, s.place.call.out[0].data, output_bytes(&s));
    assert_int_equal(prove(&s, right, &proof, sum), SQ_OK);
    assert_false(proof.is_ok);
    assert_string_not_equal(sum, right);
    unmake(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_outputs_pass),
        cmocka_unit_test(gradients_of_a_slice_are_those_by_it_alone),
        cmocka_unit_test(wrong_elements_do_not),
        cmocka_unit_test(another_seed_does_not),
        cmocka_unit_test(files_of_another_size_do_not),
        cmocka_unit_test(what_cannot_be_read_is_an_error),
        cmocka_unit_test(only_a_regular_file_is_read),
        cmocka_unit_test(a_known_checksum_stands_for_the_proof),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
