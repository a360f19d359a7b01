/* baselines: campaigns with a name, and what is kept of the program that measured them. */
#ifndef SQ_DB_BASELINES_H
#define SQ_DB_BASELINES_H

#include "db/db.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SQ_TREE_PATH = 1024 };

typedef struct {
    char name[64], campaign[SQ_UUID_TEXT], label[64], suite[64], git_commit[48];
    double made, started;    /* Unix time; NAN unknown */
    char tree[SQ_TREE_PATH]; /* folder of the kept program, ready to open; "": none is kept */
    char tree_hash[SQ_HASH_TEXT];
    int cells; /* with a time */
} sq_baseline;

/* The folder of the trees of this store: beside it, "STORE-trees". */
sq_status sq_db_trees(const sq_db *db, char out[SQ_TREE_PATH], sq_error *err);

/* What a campaign is as a baseline; refused (SQ_BAD_ARGUMENT, with the nearest one that would do)
 * where it is not over, failed, or has no time. state "budget": its cells are not all there. */
typedef struct {
    char state[16], version[32], git_commit[48];
    bool is_dirty;
    int planned, timed; /* runs */
} sq_db_candidate;
sq_status sq_db_check_candidate(sq_db *db, const char *campaign_uuid, sq_db_candidate *out,
                                sq_error *err);

/* Sets or moves a baseline. tree_hash: of a tree in sq_db_trees; "": none is kept. */
sq_status sq_db_put_baseline(sq_db *db, const char *name, const char *campaign_uuid,
                             const char *tree_hash, double made, sq_error *err);
/* Unknown: SQ_BAD_ARGUMENT with the nearest. */
sq_status sq_db_find_baseline(sq_db *db, const char *name, sq_baseline *out, sq_error *err);
sq_status sq_db_drop_baseline(sq_db *db, const char *name, sq_error *err);
/* All, by name. free() the list. */
sq_status sq_db_list_baselines(sq_db *db, sq_baseline **out, int *n, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
