#include "nights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "core/rng.h"
#include "fixture.h"

const sq_history_options all = {.min_change = 0.01};

void execute(sq_db *db, const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(sq_db_handle(db), sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
}

void add_campaign(sq_db *db, int i, const char *suite, const char *label)
{
    char sql[640];
    snprintf(sql, sizeof sql,
             "INSERT INTO campaign(campaign_id, uuid, suite, label, plan_hash, argv, version,"
             " git_commit, git_dirty, seed, planned, env_id, device_id, started, state, turn)"
             " VALUES(%d, printf('%%08d-0000-4000-8000-000000000003', %d), ?1, ?2, 'plan', 'run',"
             " '0.1.0', 'c%d', %d, '1', 1, 1, 1, %d, 'finished', %d)",
             FIRST_NIGHT + i, i, i, i == 7, 1750000000 + i * DAY, 1750000000 + i * DAY);
    fixture_exec(db, sql, suite, label);
}

void add_nights(sq_db *db, int n)
{
    for (int i = 0; i < n; i++)
        add_campaign(db, i, "nightly", "night");
}

long add_run(sq_db *db, int night, int replicate, double ms)
{
    return fixture_add(db, (fixture_run){.subject = "ssd",
                                         .campaign = FIRST_NIGHT + night,
                                         .replicate = replicate,
                                         .B = 1,
                                         .L = 512,
                                         .window = -1,
                                         .ms = ms,
                                         .interval = 0.01});
}

double noise_of(int night, int replicate)
{
    uint64_t bits = sq_rng_bits(3, (uint32_t)replicate, night);
    return 1 + 0.002 * ((double)(bits >> 11) * 0x1p-53 - 0.5);
}

void add_level(sq_db *db, int from, int to, double ms)
{
    for (int i = from; i < to; i++)
        for (int k = 0; k < 3; k++)
            add_run(db, i, k, ms * noise_of(i, k));
}

void new_driver(sq_db *db, int night)
{
    char sql[200];
    execute(db, "INSERT OR IGNORE INTO environment SELECT 2, 'fp2', '590.10', toolkit, cublas, "
                "cufft, cudnn, cupti, compiler, flags, host, kernel, os, cpu, ecc, mig, "
                "power_limit_w FROM environment WHERE env_id = 1");
    snprintf(sql, sizeof sql, "UPDATE run SET env_id = 2 WHERE campaign_id >= %d",
             FIRST_NIGHT + night);
    execute(db, sql);
}
