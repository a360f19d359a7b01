/* statements: every statement with data in it, prepared once, and the binding of its values. */
#include "db/store.h"

#include <math.h>
#include <stdio.h>

static const char *const sql_text[SQ_SQL_COUNT] = {
    [SQ_SQL_PUT_METRIC] =
        "INSERT INTO metric(name, unit, better, source, doc) VALUES(?1, ?2, ?3, ?4, ?5) "
        "ON CONFLICT(name) DO UPDATE SET unit = excluded.unit, better = excluded.better, "
        "source = excluded.source, doc = excluded.doc",
    [SQ_SQL_PUT_DEVICE] =
        "INSERT INTO device(uuid, backend, name, arch, pci, sm_count, memory_bytes, l2_bytes, "
        "max_sm_mhz, max_memory_mhz, memory_bus_bits) "
        "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) "
        "ON CONFLICT(uuid) DO UPDATE SET backend = excluded.backend, name = excluded.name, "
        "arch = excluded.arch, pci = excluded.pci, sm_count = excluded.sm_count, "
        "memory_bytes = excluded.memory_bytes, l2_bytes = excluded.l2_bytes, "
        "max_sm_mhz = excluded.max_sm_mhz, max_memory_mhz = excluded.max_memory_mhz, "
        "memory_bus_bits = excluded.memory_bus_bits RETURNING device_id",
    /* The fingerprint is a hash of the rest: the same fingerprint needs no new text. */
    [SQ_SQL_PUT_ENVIRONMENT] =
        "INSERT INTO environment(fingerprint, driver, toolkit, cublas, cufft, cudnn, cupti, "
        "compiler, flags, host, kernel, os, cpu, ecc, mig, power_limit_w) "
        "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) "
        "ON CONFLICT(fingerprint) DO UPDATE SET fingerprint = excluded.fingerprint "
        "RETURNING env_id",
    [SQ_SQL_PUT_CAMPAIGN] =
        "INSERT INTO campaign(uuid, suite, label, plan_hash, argv, version, git_commit, "
        "git_dirty, seed, planned, env_id, device_id, started, policy, state, turn) "
        "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 'running', "
        "max(?13, round(0.001 + coalesce((SELECT max(turn) FROM campaign), 0), 3))) "
        "RETURNING campaign_id",
    [SQ_SQL_CONTINUE_CAMPAIGN] = "UPDATE campaign SET state = 'running', ended = NULL "
                                 "WHERE uuid = ?1 RETURNING campaign_id",
    [SQ_SQL_FINISH_CAMPAIGN] = "UPDATE campaign SET state = ?2, ended = ?3 WHERE campaign_id = ?1",
    [SQ_SQL_PUT_CELL] = "INSERT INTO cell(key, hash, kind, subject, provider, pass, dtype, cache, "
                        "launch, clock_mode) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) "
                        "ON CONFLICT(key) DO NOTHING RETURNING cell_id",
    [SQ_SQL_PUT_AXIS] = "INSERT INTO cell_axis(cell_id, name, value, text) VALUES(?1, ?2, ?3, ?4) "
                        "ON CONFLICT(cell_id, name) DO NOTHING",
    [SQ_SQL_PUT_RUN] =
        "INSERT INTO run(uuid, campaign_id, cell_id, env_id, device_id, replicate, attempt, "
        "status, reason, started, harness_version, kernel_hash, n, median_ns, lo_ns, hi_ns, "
        "min_ns, mad_ns, cycles, sm_mhz, setup_ns, peak_bytes, samples, versions, "
        "checksum) "
        "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, "
        "?19, ?20, ?21, ?22, ?23, ?24, ?25) RETURNING run_id",
    [SQ_SQL_PUT_VALUE] = "INSERT INTO value(run_id, metric, value, n, spread, sm_mhz, validity) "
                         "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [SQ_SQL_PUT_KERNEL] =
        "INSERT INTO kernel(run_id, i, name, ns, grid, block, registers, shared_bytes, symbol) "
        "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [SQ_SQL_PUT_CHECK] = "INSERT INTO check_result(run_id, tensor, rel_l2, max_abs, tolerance, "
                         "tolerance_max, slice) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [SQ_SQL_PUT_CEILING] =
        "INSERT INTO ceiling(device_id, env_id, campaign_id, name, unit, value, lo, hi, sm_mhz) "
        "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) "
        "ON CONFLICT(campaign_id, name) DO UPDATE SET device_id = excluded.device_id, "
        "env_id = excluded.env_id, unit = excluded.unit, value = excluded.value, "
        "lo = excluded.lo, hi = excluded.hi, sm_mhz = excluded.sm_mhz",

    [SQ_SQL_FIND_GATE] =
        "SELECT g.uuid, g.exit_code, g.why, coalesce(r.uuid, ''), coalesce(s.uuid, ''), "
        "g.settings FROM gate g "
        "JOIN campaign n ON n.campaign_id = g.campaign_id "
        "JOIN campaign b ON b.campaign_id = g.baseline_id "
        "LEFT JOIN campaign r ON r.campaign_id = g.rerun_id "
        "LEFT JOIN campaign s ON s.campaign_id = g.baseline_rerun_id "
        "WHERE n.uuid = ?1 AND b.uuid = ?2 AND (g.exit_code IS NULL) = ?3 "
        "AND json_extract(g.settings, '$.by') IS NOT 'gate' "
        "ORDER BY g.gate_id DESC LIMIT 1",
    [SQ_SQL_LAST_SENTINELS] =
        "SELECT count(*), coalesce(sum(sentinels), 0), coalesce(sum(sentinel_alarms), 0) FROM ("
        "SELECT g.sentinels, g.sentinel_alarms FROM gate g JOIN campaign c USING (campaign_id) "
        "WHERE g.gate_id IN (SELECT max(gate_id) FROM gate GROUP BY campaign_id) "
        "AND c.suite = ?1 AND c.device_id = (SELECT device_id FROM campaign WHERE uuid = ?2) "
        "ORDER BY c.turn DESC, c.campaign_id DESC LIMIT ?3)",

    [SQ_SQL_FIND_CELL] = "SELECT cell_id FROM cell WHERE key = ?1",
    [SQ_SQL_FIND_PLAN] =
        "SELECT uuid, seed, planned, state, "
        "(SELECT count(*) FROM (SELECT DISTINCT cell_id, replicate FROM run r "
        "WHERE r.campaign_id = c.campaign_id)) "
        "FROM campaign c WHERE plan_hash = ?1 ORDER BY turn DESC, campaign_id DESC LIMIT 1",
    [SQ_SQL_FIND_CAMPAIGN] = "SELECT campaign_id FROM campaign WHERE uuid = ?1",
    [SQ_SQL_FIND_CEILINGS] =
        "SELECT c.uuid, c.started, x.name, x.unit, x.value, x.lo, x.hi, x.sm_mhz "
        "FROM ceiling x JOIN campaign c USING (campaign_id) WHERE c.campaign_id = ("
        "SELECT k.campaign_id FROM campaign k JOIN device d ON d.device_id = k.device_id "
        "JOIN environment e ON e.env_id = k.env_id WHERE k.suite = ?1 AND d.uuid = ?2 "
        "AND e.fingerprint = ?3 AND k.started >= ?4 AND k.state = 'finished' "
        "AND EXISTS (SELECT 1 FROM ceiling y WHERE y.campaign_id = k.campaign_id) "
        "ORDER BY k.turn DESC, k.campaign_id DESC LIMIT 1) ORDER BY x.name",
    [SQ_SQL_LIST_ATTEMPTS] = "SELECT r.status FROM run r JOIN campaign c USING (campaign_id) "
                             "JOIN cell k USING (cell_id) "
                             "WHERE c.uuid = ?1 AND k.key = ?2 AND r.replicate = ?3",
    [SQ_SQL_FIND_CHECKSUM] = "SELECT r.checksum FROM run r JOIN campaign c USING (campaign_id) "
                             "JOIN cell k USING (cell_id) WHERE c.uuid = ?1 AND k.key = ?2 "
                             "AND r.checksum <> '' ORDER BY r.run_id LIMIT 1",
    /* What a gate measured again is no campaign that anybody asked for. */
    [SQ_SQL_NTH_CAMPAIGN] = "SELECT uuid FROM campaign WHERE campaign_id NOT IN ("
                            "SELECT rerun_id FROM gate WHERE rerun_id IS NOT NULL UNION "
                            "SELECT baseline_rerun_id FROM gate WHERE baseline_rerun_id IS NOT "
                            "NULL) "
                            "ORDER BY turn DESC, campaign_id DESC LIMIT 1 OFFSET ?1",
    /* A label a user gave wins over a uuid that happens to begin like it. */
    [SQ_SQL_MATCH_CAMPAIGN] =
        "SELECT uuid, CASE WHEN label = ?1 THEN 0 ELSE 1 END AS place, label, suite, "
        "datetime(started, 'unixepoch') FROM campaign "
        "WHERE label = ?1 OR substr(uuid, 1, length(?1)) = lower(?1) "
        "ORDER BY uuid <> lower(?1), place, turn DESC, campaign_id DESC",
    [SQ_SQL_BASELINE_CAMPAIGN] =
        "SELECT c.uuid FROM baseline b JOIN campaign c USING (campaign_id) WHERE b.name = ?1",
    [SQ_SQL_KNOWN_CAMPAIGNS] =
        "SELECT CASE WHEN label <> '' THEN label ELSE substr(uuid, 1, 8) END FROM campaign "
        "ORDER BY turn DESC, campaign_id DESC LIMIT ?1",
    [SQ_SQL_FIND_SUITE] = "SELECT 1 FROM campaign WHERE suite = ?1 LIMIT 1",
    [SQ_SQL_KNOWN_SUITES] = "SELECT suite FROM campaign WHERE suite <> '' GROUP BY suite "
                            "ORDER BY max(turn) DESC LIMIT ?1",
    [SQ_SQL_KNOWN_BASELINES] = "SELECT name FROM baseline ORDER BY made DESC, name LIMIT ?1",
    [SQ_SQL_PUT_BASELINE] =
        "INSERT INTO baseline(name, campaign_id, tree_path, tree_hash, made) "
        "SELECT ?1, campaign_id, ?3, ?4, ?5 FROM campaign WHERE uuid = ?2 "
        "ON CONFLICT(name) DO UPDATE SET campaign_id = excluded.campaign_id, "
        "tree_path = excluded.tree_path, tree_hash = excluded.tree_hash, made = excluded.made "
        "RETURNING campaign_id",
    [SQ_SQL_DROP_BASELINE] = "DELETE FROM baseline WHERE name = ?1",
#define BASELINE_COLUMNS                                                                           \
    "SELECT name, campaign, label, suite, git_commit, made, started, tree_path, tree_hash, "       \
    "(SELECT count(DISTINCT cell_id) FROM run JOIN campaign c USING (campaign_id) "                \
    "WHERE c.uuid = v_baseline.campaign AND median_ns IS NOT NULL) FROM v_baseline "
    [SQ_SQL_FIND_BASELINE] = BASELINE_COLUMNS "WHERE name = ?1",
    [SQ_SQL_LIST_BASELINES] = BASELINE_COLUMNS "ORDER BY name",
    [SQ_SQL_CANDIDATE] =
        "SELECT c.suite, c.state, c.version, c.git_commit, c.git_dirty, c.planned, "
        "(SELECT count(*) FROM run r WHERE r.campaign_id = c.campaign_id "
        "AND r.median_ns IS NOT NULL) FROM campaign c WHERE c.uuid = ?1",
    /* The newest whole one of the same suite, else of any. */
    [SQ_SQL_NEAREST_CANDIDATE] =
        "SELECT substr(c.uuid, 1, 8) || ' (' || c.suite || CASE c.label WHEN '' THEN '' ELSE ' ' "
        "END || c.label || ', ' || datetime(c.started, 'unixepoch') || ')' FROM campaign c "
        "WHERE c.state IN ('finished', 'budget') AND EXISTS (SELECT 1 FROM run r "
        "WHERE r.campaign_id = c.campaign_id AND r.median_ns IS NOT NULL) "
        "ORDER BY c.suite <> ?1, c.turn DESC LIMIT 1",
    [SQ_SQL_PUT_GATE] =
        "INSERT INTO gate(uuid, campaign_id, baseline_id, baseline_name, rerun_id, "
        "baseline_rerun_id, judged, version, git_commit, settings, exit_code, why, sentinels, "
        "sentinel_alarms, controls, control_shift, control_lo, control_hi) "
        "SELECT ?1, c.campaign_id, b.campaign_id, ?4, "
        "(SELECT campaign_id FROM campaign WHERE uuid = ?5), "
        "(SELECT campaign_id FROM campaign WHERE uuid = ?6), "
        "?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18 "
        "FROM campaign c, campaign b WHERE c.uuid = ?2 AND b.uuid = ?3 "
        "ON CONFLICT(uuid) DO UPDATE SET rerun_id = excluded.rerun_id, "
        "baseline_rerun_id = excluded.baseline_rerun_id, exit_code = excluded.exit_code, "
        "why = excluded.why RETURNING gate_id",
    [SQ_SQL_PUT_VERDICT] =
        "INSERT INTO verdict(uuid, gate_id, cell_id, metric, role, verdict, effect, effect_lo, "
        "effect_hi, p, q, floor, detectable, n_baseline, n_night, n_wanted, confirmed, cause, "
        "judged) SELECT ?1, ?2, cell_id, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, "
        "?16, ?17, ?18, ?19 FROM cell WHERE key = ?3 "
        "ON CONFLICT DO UPDATE SET verdict = excluded.verdict, "
        "confirmed = excluded.confirmed, cause = excluded.cause RETURNING verdict_id",
    [SQ_SQL_MATCH_VERDICT] =
        "SELECT verdict_uuid, substr(verdict_uuid, 1, 8) || ' (' || verdict || ', ' || metric || "
        "' of ' || subject || ' ' || provider || ', cell ' || substr(hash, 1, 8) || ')' "
        "FROM v_verdict WHERE substr(verdict_uuid, 1, length(?1)) = lower(?1) "
        "ORDER BY judged DESC LIMIT ?2",
    /* Those that ask for an answer first. */
    [SQ_SQL_KNOWN_VERDICTS] =
        "SELECT substr(uuid, 1, 8) FROM verdict "
        "ORDER BY confirmed = '', judged DESC, "
        "verdict_id LIMIT ?1",
    [SQ_SQL_PUT_ANSWER] =
        "INSERT INTO acknowledgement(uuid, verdict_id, kind, reason, until, author, made) "
        "SELECT ?1, verdict_id, ?3, ?4, ?5, ?6, max(?7, 0.001 + coalesce((SELECT max(x.made) "
        "FROM acknowledgement x WHERE x.verdict_id = verdict.verdict_id), 0)) "
        "FROM verdict WHERE uuid = ?2 AND confirmed <> '' "
        "RETURNING acknowledgement_id",
    [SQ_SQL_FIND_ANSWER] =
        "SELECT a.kind, a.reason, a.author, a.made, a.until, v.effect, v.effect_lo, v.effect_hi "
        "FROM acknowledgement a JOIN verdict v USING (verdict_id) JOIN cell k USING (cell_id) "
        "JOIN gate g USING (gate_id) JOIN campaign b ON b.campaign_id = g.baseline_id "
        "WHERE k.key = ?1 AND v.metric = ?2 AND v.confirmed <> '' AND (a.kind = 'flake' OR b.uuid = ?3) "
        "AND (a.until IS NULL OR a.until > ?4) "
        "AND (?5 = '' OR substr(v.cause, 1, length(?5) + 1) = ?5 || ':') "
        "AND a.acknowledgement_id = (SELECT x.acknowledgement_id FROM acknowledgement x "
        "WHERE x.verdict_id = a.verdict_id ORDER BY x.made DESC, x.acknowledgement_id DESC LIMIT "
        "1) "
        "ORDER BY a.made DESC, a.acknowledgement_id DESC LIMIT 1",
    [SQ_SQL_DROP_SAMPLES] = "UPDATE run SET samples = NULL WHERE samples IS NOT NULL "
                            "AND campaign_id IN (" SQ_SQL_PRUNABLE ")",
    [SQ_SQL_RUN_BY_ID] = "SELECT run_id FROM run WHERE run_id = ?1",
    [SQ_SQL_RUN_BY_KEY] = "SELECT r.run_id FROM run r JOIN cell k USING (cell_id) "
                          "JOIN campaign c USING (campaign_id) "
                          "WHERE k.key = ?1 ORDER BY c.turn DESC, r.run_id DESC LIMIT 1",
    [SQ_SQL_MATCH_RUN] =
        "SELECT run_id, 'run ' || uuid FROM run WHERE substr(uuid, 1, length(?1)) = lower(?1) "
        "UNION ALL "
        "SELECT (SELECT r.run_id FROM run r JOIN campaign c USING (campaign_id) "
        "WHERE r.cell_id = k.cell_id ORDER BY c.turn DESC, r.run_id DESC LIMIT 1) AS last, 'cell ' || k.hash FROM cell k "
        "WHERE substr(k.hash, 1, length(?1)) = lower(?1) AND last IS NOT NULL LIMIT ?2",
    [SQ_SQL_KNOWN_KEYS] = "SELECT key FROM cell ORDER BY cell_id DESC LIMIT ?1",
};

sq_row sq_row_new(sq_db *db, sq_sql which)
{
    sq_row row = {.db = db, .next = 1};
    if (!db->statement[which])
        row.rc = sqlite3_prepare_v3(db->handle, sql_text[which], -1, SQLITE_PREPARE_PERSISTENT,
                                    &db->statement[which], NULL);
    row.stmt = db->statement[which];
    return row;
}

static void keep(sq_row *row, int rc)
{
    if (row->rc == SQLITE_OK)
        row->rc = rc;
}

/* SQLITE_STATIC throughout: a row is written before the caller's data goes away. */
void sq_row_text(sq_row *row, const char *text)
{
    keep(row, sqlite3_bind_text(row->stmt, row->next++, text, -1, SQLITE_STATIC));
}

void sq_row_int(sq_row *row, int64_t value)
{
    keep(row, sqlite3_bind_int64(row->stmt, row->next++, value));
}

void sq_row_count(sq_row *row, int64_t value)
{
    if (value < 0)
        keep(row, sqlite3_bind_null(row->stmt, row->next++));
    else
        sq_row_int(row, value);
}

void sq_row_real(sq_row *row, double value)
{
    if (isfinite(value))
        keep(row, sqlite3_bind_double(row->stmt, row->next++, value));
    else
        keep(row, sqlite3_bind_null(row->stmt, row->next++));
}

void sq_row_blob(sq_row *row, const void *data, size_t bytes)
{
    keep(row, sqlite3_bind_blob64(row->stmt, row->next++, data, bytes, SQLITE_STATIC));
}

void sq_row_end(sq_row *row)
{
    if (!row->stmt)
        return;
    sqlite3_reset(row->stmt);
    sqlite3_clear_bindings(row->stmt);
}

sq_status sq_row_step(sq_row *row, bool *found, sq_error *err)
{
    *found = false;
    if (row->rc == SQLITE_OK)
        row->rc = sqlite3_step(row->stmt);
    if (row->rc == SQLITE_ROW) {
        row->rc = SQLITE_OK;
        *found = true;
        return SQ_OK;
    }
    sq_status status = SQ_OK;
    if (row->rc != SQLITE_DONE)
        status = sq_db_fail(row->db, row->rc, row->stmt ? sqlite3_sql(row->stmt) : "prepare", err);
    sq_row_end(row);
    return status;
}

sq_status sq_row_run(sq_row *row, int64_t *id, sq_error *err)
{
    bool found;
    SQ_TRY(sq_row_step(row, &found, err));
    if (id)
        *id = found ? sqlite3_column_int64(row->stmt, 0) : 0;
    while (found) /* RETURNING: the statement ends only at its last row */
        SQ_TRY(sq_row_step(row, &found, err));
    return SQ_OK;
}

void sq_row_copy(const sq_row *row, int column, char *out, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(row->stmt, column);
    snprintf(out, size, "%s", text ? text : "");
}

double sq_row_number(const sq_row *row, int column)
{
    bool is_null = sqlite3_column_type(row->stmt, column) == SQLITE_NULL;
    return is_null ? (double)NAN : sqlite3_column_double(row->stmt, column);
}
