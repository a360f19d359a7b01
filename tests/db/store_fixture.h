/* store_fixture: a folder of its own, a small subject, records with every kind of part. */
#ifndef SQ_TESTS_DB_STORE_FIXTURE_H
#define SQ_TESTS_DB_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/record.h"
#include "db/db.h"

enum { PATH_BYTES = 512, DEMO_CHECKS = 2, DEMO_VALUES = 3, DEMO_KERNELS = 2, DEMO_AXES = 3 };

/* A new empty folder that everybody may enter; its removal with all that is in it. */
void make_folder(char folder[PATH_BYTES]);
void remove_folder(const char *folder);
void join(char out[PATH_BYTES], const char *folder, const char *name);

/* Content of a whole file as a hash; "absent" where there is none. */
void hash_file(const char *path, char out[SQ_HASH_TEXT]);
void copy_file(const char *from, const char *to);
void write_file(const char *path, const void *data, size_t bytes);
bool exists(const char *path);

extern const sq_metric_def demo_metrics[];
sq_device demo_device(void);
sq_environment demo_environment(void);
/* started orders campaigns. */
sq_campaign demo_campaign(const char *plan_hash, const char *label, double started);
sq_cell demo_cell(double length);
/* A run of `cell` with DEMO_CHECKS, DEMO_VALUES and DEMO_KERNELS parts and `n` samples, where
 * status is SQ_RUN_OK; else without time. */
sq_record demo_record(const sq_cell *cell, int replicate, int attempt, sq_run_status status, int n);

/* The same, each failing the test where it fails. */
sq_db *must_open(const char *path, sq_db_mode mode);
void must_begin(sq_db *db, const sq_campaign *campaign);
void must_put(sq_db *db, const sq_cell *cell, int replicate, int attempt, sq_run_status status,
              double started);
void must_finish(sq_db *db, const char *state);
int64_t get_int(sq_db *db, const char *sql);
/* Fails unless the store is sound and every run has all of its parts. */
void must_be_whole(sq_db *db);

#define must(expr) must_at((expr), &last_error, #expr, __FILE__, __LINE__)
extern sq_error last_error;
void must_at(sq_status status, const sq_error *err, const char *what, const char *file, int line);

/* Fails unless the last error's message holds `part`. */
#define assert_says(part) assert_says_at((part), __FILE__, __LINE__)
void assert_says_at(const char *part, const char *file, int line);

#endif
