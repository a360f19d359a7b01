/* catalog: which providers a device has for which operator; what a worker's hello says. */
#ifndef SQ_BENCH_CATALOG_H
#define SQ_BENCH_CATALOG_H

#include <jansson.h>

#include "bench/settings.h"
#include "bench/subject.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    char op[SQ_NAME_MAX], provider[SQ_NAME_MAX];
} sq_offer;

/* Zero-initialise. */
typedef struct {
    char backend[16]; /* "cpu", "cuda" */
    sq_offer *offer;
    int count;
} sq_catalog;

sq_status sq_catalog_add(sq_catalog *catalog, const char *op, const char *provider, sq_error *err);
/* {"attention":["cuda/naive", ..], ..} */
sq_status sq_catalog_parse(const json_t *providers, sq_catalog *out, sq_error *err);
void sq_catalog_free(sq_catalog *catalog);

/* Whether the device can run `subject` by `provider`. A block runs by the name of a provider set of
 * the backend ("cuda/portable"): operators that lack it fall back (models/graph.h). */
bool sq_catalog_has(const sq_catalog *catalog, const sq_subject *subject, const char *provider);
/* What "all" means for the subject: every provider of an operator that is no external one, which are
 * asked for by name; of a block the best set only. */
sq_status sq_catalog_names(const sq_catalog *catalog, const sq_subject *subject, sq_names *out,
                           sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
