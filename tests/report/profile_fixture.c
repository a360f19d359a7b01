#include "profile_fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    const char *metric, *unit, *source;
    double value, spread;
} counted;

static const counted values[] = {
    {"activity_ns", "ns", "traced", 414200, 0.004},
    {"temperature_c", "C", "nvml", 41, NAN},
    {"power_w", "W", "nvml", 512, NAN},
    {"counter_time_ns", "ns", "cupti:gpu__time_duration.sum", 425300, 0.012},
    {"counter_sm_hz", "Hz", "cupti:sm__cycles_elapsed.avg.per_second", 1.724e9, 0.002},
    {"dram_bytes_read", "B", "cupti:dram__bytes_read.sum", 203.4e6, 0.003},
    {"dram_bytes_written", "B", "cupti:dram__bytes_write.sum", 68.9e6, 0.021},
    {"dram_pct", "%", "cupti:dram__throughput.avg.pct_of_peak_sustained_elapsed", 20.1, 0.011},
    {"l2_pct", "%", "cupti:lts__t_sectors.avg.pct_of_peak_sustained_elapsed", 38.6, 0.004},
    {"l2_data_pct", "%", "cupti:lts__d_sectors.avg.pct_of_peak_sustained_elapsed", 31.2, 0.004},
    {"l2_out_pct", "%", "cupti:lts__lts2xbar_cycles_active.avg.pct_of_peak_sustained_elapsed", 44.7,
     0.004},
    {"l2_hit_pct", "%", "cupti:LTS.TriageCompute.lts__average_t_sector_hit_rate_realtime.pct", 86.4,
     0.01},
    {"l2_to_sm_bytes", "B", "cupti:l1tex__m_xbar2l1tex_read_bytes.sum", 1.216e9, 0.001},
    {"sm_to_l2_bytes", "B", "cupti:l1tex__m_l1tex2xbar_write_bytes.sum", 67.1e6, 0.001},
    {"l1_data_pct", "%", "cupti:l1tex__data_pipe_lsu_wavefronts.avg.pct_of_peak_sustained_elapsed",
     52.3, 0.003},
    {"shared_wavefronts", "wavefront", "cupti:l1tex__data_pipe_lsu_wavefronts_mem_shared.sum",
     4.83e7, 0},
    {"shared_conflicts", "wavefront", "cupti:l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum",
     1.1e6, 0},
    {"tensor_pipe_pct", "%",
     "cupti:sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed", 68.3, 0.003},
    {"tensor_ops_bf16", "FLOP", "cupti:sm__ops_path_tensor_src_bf16_dst_fp32.sum", 1.46e11, 0},
    {"instructions", "instruction", "cupti:sm__inst_executed.sum", 1.92e8, 0},
    {"inst_tensor", "instruction", "cupti:sm__inst_executed_pipe_tensor.sum", 3.57e7, 0},
    {"inst_fma", "instruction", "cupti:sm__inst_executed_pipe_fma.sum", 5.4e7, 0},
    {"inst_alu", "instruction", "cupti:sm__inst_executed_pipe_alu.sum", 4.1e7, 0},
    {"inst_f16", "instruction", "cupti:sm__inst_executed_pipe_fma_type_fp16.sum", 0, NAN},
    {"inst_xu", "instruction", "cupti:sm__inst_executed_pipe_xu.sum", 1.23e7, 0},
    {"inst_lsu", "instruction", "cupti:sm__inst_executed_pipe_lsu.sum", 2.61e7, 0},
    {"inst_uniform", "instruction", "cupti:sm__inst_executed_pipe_uniform.sum", 6.2e6, 0},
    {"issue_pct", "%", "cupti:sm__issue_active.avg.pct_of_peak_sustained_active", 47.9, 0.002},
    {"occupancy_pct", "%", "cupti:sm__warps_active.avg.pct_of_peak_sustained_active", 12.4, 0.001},
    {"xu_pct", "%", "cupti:sm__inst_executed_pipe_xu.avg.pct_of_peak_sustained_active", 19.8,
     0.002},
    {"warps_active", "warp", "cupti:smsp__warps_active.sum", 7.6e8, 0.003},
    {"stall_math_pipe_throttle", "warp", "cupti:smsp__warps_issue_stalled_math_pipe_throttle.sum",
     2.31e8, 0.005},
    {"stall_short_scoreboard", "warp", "cupti:smsp__warps_issue_stalled_short_scoreboard.sum",
     9.6e7, 0.01},
    {"stall_wait", "warp", "cupti:smsp__warps_issue_stalled_wait.sum", 8.8e7, 0.002},
    {"stall_barrier", "warp", "cupti:smsp__warps_issue_stalled_barrier.sum", 5.2e7, 0.02},
    {"stall_long_scoreboard", "warp", "cupti:smsp__warps_issue_stalled_long_scoreboard.sum", 3.4e7,
     0.03},
    {"stall_mio_throttle", "warp", "cupti:smsp__warps_issue_stalled_mio_throttle.sum", 2.7e7, 0.02},
    {"stall_not_selected", "warp", "cupti:smsp__warps_issue_stalled_not_selected.sum", 2.2e7, 0.02},
    {"stall_selected", "warp", "cupti:smsp__warps_issue_stalled_selected.sum", 1.92e8, 0},
    {"stall_lg_throttle", "warp", "cupti:smsp__warps_issue_stalled_lg_throttle.sum", 4e5, 0.1},
    {"stall_no_instruction", "warp", "cupti:smsp__warps_issue_stalled_no_instruction.sum", 6.1e6,
     0.04},
};

static const struct {
    const char *name, *unit;
    double value;
} ceilings[] = {
    {"copy_gbytes_per_s", "GB/s", 2941},    {"read_gbytes_per_s", "GB/s", 3014},
    {"l2_read_gbytes_per_s", "GB/s", 5710}, {"shared_read_gbytes_per_s", "GB/s", 29100},
    {"gemm_bf16_tflops", "TFLOP/s", 731},   {"fma_f32_tflops", "TFLOP/s", 57.2},
    {"ex2_gops_per_s", "Gop/s", 3640},
};

static void bind_number(sqlite3_stmt *s, int index, double value)
{
    if (isnan(value))
        sqlite3_bind_null(s, index);
    else
        sqlite3_bind_double(s, index, value);
}

static void add_value(sq_db *db, long run, const counted *c)
{
    sqlite3_stmt *s = NULL;
    sqlite3 *handle = sq_db_handle(db);
    fixture_exec(db, "INSERT OR IGNORE INTO metric VALUES(?1, 'u', '', ?2, 'what it counts')",
                 c->metric, c->source);
    fixture_exec(db, "UPDATE metric SET unit = ?2 WHERE name = ?1", c->metric, c->unit);
    assert_int_equal(sqlite3_prepare_v2(handle,
                                        "INSERT INTO value VALUES(?1, ?2, ?3, 3, ?4, ?5, '', 'ok')",
                                        -1, &s, NULL),
                     SQLITE_OK);
    sqlite3_bind_int64(s, 1, run);
    sqlite3_bind_text(s, 2, c->metric, -1, SQLITE_STATIC);
    bind_number(s, 3, c->value);
    bind_number(s, 4, c->spread);
    bind_number(s, 5, strncmp(c->source, "cupti:", 6) ? NAN : 1724);
    assert_int_equal(sqlite3_step(s), SQLITE_DONE);
    sqlite3_finalize(s);
}

static void add_ceilings(sq_db *db)
{
    for (size_t i = 0; i < sizeof ceilings / sizeof ceilings[0]; i++) {
        char sql[256];
        snprintf(sql, sizeof sql,
                 "INSERT INTO ceiling(device_id, env_id, campaign_id, name, unit, value, lo, hi) "
                 "VALUES(1, 1, 2, ?1, ?2, %g, %g, %g)",
                 ceilings[i].value, 0.995 * ceilings[i].value, 1.005 * ceilings[i].value);
        fixture_exec(db, sql, ceilings[i].name, ceilings[i].unit);
    }
}

static void add_parts(sq_db *db, long run)
{
    char sql[600];
    snprintf(sql, sizeof sql,
             "INSERT INTO kernel(run_id, i, name, ns, grid, block, registers, shared_bytes) "
             "VALUES(%ld, 0, "
             "'_Z13attention_mmaI15attention_shapeI13__nv_bfloat16Li128ELi2ELi4ELi64ELi2EEEv16"
             "attention_params', 409100, '16x16x8', '256x1x1', 232, 98304),"
             "(%ld, 1, 'void combine_splits<8>(float const*, int)', 5100, '2048x1x1', '128x1x1', "
             "40, 0)",
             run, run);
    fixture_exec(db, sql, NULL, NULL);
    snprintf(sql, sizeof sql,
             "INSERT INTO check_result VALUES(%ld, 'out', 'b=3,h=7,rows=64', 0.0021, 0.03, 0.008, "
             "0.2)",
             run);
    fixture_exec(db, sql, NULL, NULL);
    snprintf(sql, sizeof sql,
             "UPDATE run SET setup_ns = 1.3e6, sm_mhz = 1755, lo_ns = 416800, hi_ns = 417900 "
             "WHERE run_id = %ld",
             run);
    fixture_exec(db, sql, NULL, NULL);
}

long profile_fixture_attention(sq_db *db)
{
    fixture_exec(db, "UPDATE device SET name = 'NVIDIA H100 80GB HBM3' WHERE device_id = 1", NULL,
                 NULL);
    fixture_exec(db, "UPDATE campaign SET suite = 'profile', label = '' WHERE campaign_id = 1",
                 NULL, NULL);
    fixture_exec(db, "UPDATE campaign SET suite = 'characterize' WHERE campaign_id = 2", NULL,
                 NULL);
    long run = fixture_add(db, (fixture_run){.subject = "attention",
                                             .B = 8,
                                             .L = 2048,
                                             .width = 2048,
                                             .ms = 0.4173,
                                             .interval = 0.001,
                                             .flops = 1.375e11,
                                             .bytes = 2.684e8,
                                             .peak_bytes = 2.7e8,
                                             .extra_axis = "H=16"});
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        add_value(db, run, &values[i]);
    add_ceilings(db);
    add_parts(db, run);
    return run;
}

void profile_fixture_refuse(sq_db *db, const char *metric, const char *validity)
{
    fixture_exec(db, "UPDATE value SET value = NULL, validity = ?2 WHERE metric = ?1", metric,
                 validity);
    assert_true(sqlite3_changes(sq_db_handle(db)) > 0);
}

static sq_curve new_series(const char *const *columns, int n_columns, int n_rows)
{
    sq_curve series;
    sq_error err = {.message = ""};
    if (sq_curve_new(&series, columns, n_columns, n_rows, &err) != SQ_OK)
        fail_msg("%s", err.message);
    return series;
}

sq_curve profile_fixture_sustain(void)
{
    static const char *const columns[] = {"seconds", "launches_per_s", "sm_mhz", "power_w",
                                          "temperature_c"};
    sq_curve s = new_series(columns, 5, 200);
    for (int i = 0; i < s.n_rows; i++) {
        double t = 0.05 * (i + 1), droop = 1 - exp(-fmax(t - 0.1, 0) / 0.25);
        double *row = s.cell + (size_t)i * 5;
        row[0] = t;
        row[2] = 1980 - 505 * droop + 15 * sin(2.6 * i);
        row[1] = 716 * pow(row[2] / 1980, 0.45);
        row[3] = i % 2 ? NAN : 180 + 515 * (1 - exp(-t / 0.35));
        row[4] = 34 + 22 * (1 - exp(-t / 4));
    }
    return s;
}

sq_curve profile_fixture_timeline(void)
{
    static const char *const columns[] = {"seconds",           "pm_sm_hz",     "pm_sm_active_pct",
                                          "pm_tensor_pct",     "pm_issue_pct", "pm_dram_read_pct",
                                          "pm_dram_write_pct", "pm_l2_pct",    "pm_f64_pct"};
    sq_curve s = new_series(columns, 9, 250);
    s.interval_ns = 10000;
    for (int i = 0; i < s.n_rows; i++) {
        double phase = fmod(i, 50) - 6, busy = phase >= 0 && phase < 42;
        double *row = s.cell + (size_t)i * 9;
        row[0] = 1e-5 * (i + 1);
        row[1] = 1.74e9 + 1e7 * sin(0.3 * i);
        row[2] = busy ? 98 - (phase > 38 ? 30 : 0) : 0;
        row[3] = busy ? 66 + 4 * sin(1.1 * i) : 0;
        row[4] = busy ? 46 + 3 * sin(0.7 * i) : 0;
        row[5] = busy ? 12 + 30 * exp(-phase / 4) : 0;
        row[6] = busy ? 5 + 4 * (phase > 30) : 0;
        row[7] = busy ? 37 + 2 * cos(0.9 * i) : 0;
        row[8] = 0;
    }
    return s;
}
