/* seqmark verify --cell, --fuzz: cells proved again, and cells drawn where operators break. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cmd_verify.h"
#include "bench/exchange.h"
#include "bench/verify/replay.h"

static const char *const columns[] = {"op",           "provider",   "pass",        "dtype",
                                      "cells",        "wrong",      "worst_error", "tolerance",
                                      "worst_tensor", "worst_cell", NULL};

bool sq_verify_is_of_cells(const sq_given *given)
{
    return sq_given_value(given, "cell", NULL) || sq_given_value(given, "fuzz", NULL);
}

/* --- numbers of the command line --- */

static sq_status given_seed(const sq_given *given, uint64_t *out, sq_error *err)
{
    const char *text = sq_given_value(given, "seed", "1");
    return sq_parse_seed(text, out)
               ? SQ_OK
               : sq_fail(err, SQ_BAD_ARGUMENT, "--seed: \"%.40s\" is no whole number below 2^64",
                         text);
}

static sq_status given_number(const sq_given *given, const char *option, const char *fallback,
                              double *out, sq_error *err)
{
    const char *text = sq_given_value(given, option, fallback), *end;
    return sq_scan_number(text, out, &end) && !*end && *out >= 1
               ? SQ_OK
               : sq_fail(err, SQ_BAD_ARGUMENT, "--%s: \"%.40s\" is no number from 1 on", option,
                         text);
}

/* --- one cell --- */

typedef struct {
    const char *cell, *layout, *values;
    uint64_t seed;
    double max_work;
} trial;

static sq_status replay(sq_verification_run *v, const trial *t, json_t **answer, sq_error *err)
{
    char seed[24];
    snprintf(seed, sizeof seed, "%" PRIu64, t->seed);
    return sq_verification_ask(v, t->cell,
                               json_pack("{ss ss ss ss ss sf}", "do", "replay", "cell", t->cell,
                                         "layout", t->layout, "values", t->values, "seed", seed,
                                         "max_work", t->max_work),
                               "verification", answer, err);
}

/* What the worker would refuse is an error of the command line. */
static sq_status check_trial(const trial *t, sq_error *err)
{
    sq_cell cell;
    sq_subject subject;
    sq_layout layout;
    sq_values values;
    SQ_TRY(sq_cell_parse(t->cell, &cell, &subject, err));
    SQ_TRY(sq_layout_parse(t->layout, &layout, err));
    return sq_values_parse(t->values, &values, err);
}

static sq_status verify_cell(sq_verification_run *v, const sq_given *given, sq_error *err)
{
    trial t = {.cell = sq_given_value(given, "cell", NULL),
               .layout = sq_given_value(given, "layout", "dense"),
               .values = sq_given_value(given, "values", "usual")};
    json_t *answer = NULL;
    SQ_TRY(check_trial(&t, err));
    SQ_TRY(given_seed(given, &t.seed, err));
    SQ_TRY(given_number(given, "proof-work", "2m", &t.max_work, err));
    SQ_TRY(sq_target_open(sq_given_value(given, "device", NULL), &v->target, err));
    SQ_TRY(replay(v, &t, &answer, err));
    if (answer)
        sq_verification_add(v, answer);
    json_decref(answer);
    return SQ_OK;
}

/* --- many cells --- */

/* What all cells of one operator, provider, pass and type came to. */
typedef struct {
    char op[SQ_NAME_MAX], provider[SQ_NAME_MAX], pass[8], dtype[8];
    int cells, wrong;
    double worst, tolerance; /* NAN: nothing was compared */
    char worst_tensor[SQ_NAME_MAX], worst_cell[SQ_KEY_MAX];
} tally;

typedef struct {
    tally *item;
    int count;
} tallies;

static sq_status read_key(const char *key, tally *out, sq_error *err)
{
    sq_cell cell;
    sq_subject subject;
    *out = (tally){.worst = NAN, .tolerance = NAN};
    SQ_TRY(sq_cell_parse(key, &cell, &subject, err));
    snprintf(out->op, sizeof out->op, "%s", cell.subject);
    snprintf(out->provider, sizeof out->provider, "%s", cell.provider);
    snprintf(out->pass, sizeof out->pass, "%s", sq_pass_name(cell.pass));
    snprintf(out->dtype, sizeof out->dtype, "%s", sq_dtype_name(cell.dtype));
    return SQ_OK;
}

static tally *find_tally(tallies *all, const tally *key)
{
    for (int i = 0; i < all->count; i++) {
        tally *t = &all->item[i];
        if (strcmp(t->op, key->op) == 0 && strcmp(t->provider, key->provider) == 0 &&
            strcmp(t->pass, key->pass) == 0 && strcmp(t->dtype, key->dtype) == 0)
            return t;
    }
    tally *grown = realloc(all->item, sizeof *grown * (size_t)(all->count + 1));
    if (!grown)
        return NULL;
    all->item = grown;
    all->item[all->count] = *key;
    return &all->item[all->count++];
}

/* How far towards its bound, or beyond; an infinite error beats any. */
static double share_of(double error, double tolerance)
{
    return isinf(error) ? INFINITY : error / tolerance;
}

/* answer NULL: there is none. */
static sq_status count(tallies *all, const char *cell, const json_t *answer, bool is_wrong,
                       sq_error *err)
{
    tally key;
    SQ_TRY(read_key(cell, &key, err));
    tally *t = find_tally(all, &key);
    if (!t)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory to count cells");
    const double found = sq_message_number(answer, "rel_l2");
    const double error = is_wrong && isnan(found) ? INFINITY : found; /* which has no JSON form */
    const double tolerance = sq_message_number(answer, "tolerance");
    t->cells++;
    t->wrong += is_wrong;
    if (isnan(t->worst) || share_of(error, tolerance) > share_of(t->worst, t->tolerance)) {
        t->worst = error;
        t->tolerance = tolerance;
        snprintf(t->worst_tensor, sizeof t->worst_tensor, "%.63s",
                 sq_message_text(answer, "tensor", ""));
        snprintf(t->worst_cell, sizeof t->worst_cell, "%.639s", cell);
    }
    return SQ_OK;
}

static void print_replay(const sq_verification_run *v, const trial *t, const char *what,
                         const char *why)
{
    fprintf(stderr,
            "%s: %s\n  seqmark verify --device %s --cell '%s' --seed %" PRIu64
            " --layout %s --values %s --proof-work %.0f\n",
            what, why, v->target.name, t->cell, t->seed, t->layout, t->values, t->max_work);
}

static sq_status draw(sq_verification_run *v, const sq_given *given, const trial *t,
                      json_t **answer, sq_error *err)
{
    char seed[24], name[48];
    snprintf(seed, sizeof seed, "%" PRIu64, t->seed);
    snprintf(name, sizeof name, "seed %s", seed);
    return sq_verification_ask(v, name,
                               json_pack("{ss ss sf ss* ss*}", "do", "draw", "seed", seed,
                                         "max_work", t->max_work, "op",
                                         sq_given_value(given, "op", NULL), "provider",
                                         sq_given_value(given, "provider", NULL)),
                               "drawn", answer, err);
}

static sq_status fuzz_one(sq_verification_run *v, const sq_given *given, trial *t, tallies *all,
                          sq_error *err)
{
    json_t *drawn = NULL, *answer = NULL;
    SQ_TRY(draw(v, given, t, &drawn, err));
    if (!drawn)
        return SQ_OK;
    t->cell = sq_message_text(drawn, "cell", "?");
    t->layout = sq_message_text(drawn, "layout", "?");
    t->values = sq_message_text(drawn, "values", "?");
    const int wrong_before = v->mismatches;
    sq_status s = replay(v, t, &answer, err);
    if (answer)
        sq_verification_add(v, answer);
    const bool is_wrong = v->mismatches > wrong_before;
    if (s == SQ_OK)
        s = count(all, t->cell, answer, is_wrong, err);
    if (s == SQ_OK && (is_wrong || !answer))
        print_replay(v, t, is_wrong ? "wrong" : "not proved",
                     answer ? sq_message_text(answer, "reason", "?") : v->why);
    json_decref(answer);
    json_decref(drawn);
    return s;
}

static int by_kind(const void *a, const void *b)
{
    const tally *x = a, *y = b;
    const int op = strcmp(x->op, y->op), provider = strcmp(x->provider, y->provider);
    const int pass = strcmp(x->pass, y->pass);
    return op ? op : provider ? provider : pass ? pass : strcmp(x->dtype, y->dtype);
}

static sq_status list_tallies(sq_verification_run *v, tallies *all, sq_error *err)
{
    v->table = sq_table_new(columns);
    if (!v->table)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "no memory for a table");
    if (all->count)
        qsort(all->item, (size_t)all->count, sizeof *all->item, by_kind);
    for (int i = 0; i < all->count; i++) {
        const tally *t = &all->item[i];
        sq_table_text(v->table, t->op);
        sq_table_text(v->table, t->provider);
        sq_table_text(v->table, t->pass);
        sq_table_text(v->table, t->dtype);
        sq_table_number(v->table, t->cells, 9);
        sq_table_number(v->table, t->wrong, 9);
        sq_table_number(v->table, t->worst, 3);
        sq_table_number(v->table, t->tolerance, 3);
        sq_table_text(v->table, t->worst_tensor);
        sq_table_text(v->table, t->worst_cell);
    }
    return SQ_OK;
}

static sq_status verify_fuzz(sq_verification_run *v, const sq_given *given, sq_error *err)
{
    const char *op = sq_given_value(given, "op", NULL);
    trial t = {.cell = NULL};
    tallies all = {.count = 0};
    double cells;
    if (op && !sq_op_find(op))
        return sq_fail_unknown(err, "operator", op, sq_op_names());
    SQ_TRY(given_seed(given, &t.seed, err));
    SQ_TRY(given_number(given, "fuzz", NULL, &cells, err));
    SQ_TRY(given_number(given, "proof-work", "2m", &t.max_work, err));
    SQ_TRY(sq_target_open(sq_given_value(given, "device", NULL), &v->target, err));
    sq_status s = SQ_OK;
    for (double i = 0; s == SQ_OK && i < cells; i++, t.seed++)
        s = fuzz_one(v, given, &t, &all, err);
    if (s == SQ_OK)
        s = list_tallies(v, &all, err);
    free(all.item);
    return s;
}

sq_status sq_verify_cells(sq_verification_run *v, const sq_given *given, sq_error *err)
{
    return sq_given_value(given, "fuzz", NULL) ? verify_fuzz(v, given, err)
                                               : verify_cell(v, given, err);
}
