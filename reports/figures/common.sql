-- Common head of every query of the report: from runs to one row per cell and device.
-- ?1: uuid of the campaign, or NULL for all. ?2: kind of the figure ('op', 'block').
WITH
-- The newest attempt of each replicate; older attempts were retried and do not count.
attempt AS MATERIALIZED (
    SELECT run_id FROM (
        SELECT r.run_id,
               row_number() OVER (PARTITION BY r.campaign_id, r.cell_id, r.replicate
                                  ORDER BY r.attempt DESC) AS age
        FROM run r JOIN campaign c USING (campaign_id)
        WHERE ?1 IS NULL OR c.uuid = ?1)
    WHERE age = 1),
timed AS (
    SELECT v.*, r.cell_id, r.device_id, r.env_id, r.harness_version, r.kernel_hash, c.turn,
           r.n AS launches -- v_result has n twice: samples and the axis N
    FROM v_result v JOIN attempt USING (run_id) JOIN run r USING (run_id)
         JOIN campaign c ON c.campaign_id = r.campaign_id
    WHERE v.median_ns > 0),
-- Replicates of a cell are the runs of the same code in the same environment as its newest run.
-- Runs of other kernels or drivers are other measurements: never mixed in.
aged AS (
    SELECT *,
           first_value(env_id) OVER newest AS newest_env,
           first_value(harness_version) OVER newest AS newest_harness,
           first_value(kernel_hash) OVER newest AS newest_kernel
    FROM timed
    WINDOW newest AS (PARTITION BY cell_id, device_id ORDER BY turn DESC, run_id DESC)),
ranked AS (
    SELECT *,
           row_number() OVER (PARTITION BY cell_id, device_id ORDER BY median_ns, run_id) AS rank,
           count(*) OVER (PARTITION BY cell_id, device_id) AS runs
    FROM aged
    WHERE env_id = newest_env AND harness_version = newest_harness AND kernel_hash = newest_kernel),
-- Median of the runs' medians. Interval: of the one run, or from the fastest to the slowest run.
point AS MATERIALIZED (
    SELECT cell_id, device_id, device, key, hash, kind, subject, provider, pass, dtype, cache,
           launch, clock_mode, B, L, coalesce(window_keys, 0) AS window_keys,
           coalesce(max(width), CASE kind WHEN 'block' THEN D END) AS width,
           runs, sum(launches) AS launches,
           avg(CASE WHEN rank IN ((runs + 1) / 2, (runs + 2) / 2) THEN median_ns END) AS ns,
           CASE runs WHEN 1 THEN min(lo_ns) ELSE min(median_ns) END AS lo,
           CASE runs WHEN 1 THEN max(hi_ns) ELSE max(median_ns) END AS hi,
           max(flops) AS flops, max(bytes) AS bytes, max(floor_ns) AS floor_ns,
           max(peak_bytes) AS peak_bytes, avg(sm_mhz) AS sm_mhz, max(run_id) AS run_id,
           CASE WHEN sum(status = 'throttled') > 0 THEN 'throttled'
                WHEN sum(status = 'noisy') > 0 THEN 'noisy' ELSE 'ok' END AS status
    FROM ranked GROUP BY cell_id, device_id),
-- What the figures of this kind compare: operators that are only parts of blocks are no mixers.
compared AS (
    SELECT * FROM point
    WHERE kind = ?2 AND width IS NOT NULL AND B IS NOT NULL AND L IS NOT NULL
      AND NOT (kind = 'op' AND subject IN ('causal_conv1d', 'linear', 'rmsnorm'))),
-- What a figure may show together: one device, dtype, width ... and either the tokens (B * L) or the
-- batch constant. The group with the most lengths of most subjects is drawn.
chosen AS MATERIALIZED (
    SELECT device_id, device, pass, dtype, cache, launch, clock_mode, width, workload, amount
    FROM (SELECT *, 'tokens' AS workload, B * L AS amount FROM compared
          UNION ALL
          SELECT *, 'batch' AS workload, B AS amount FROM compared)
    GROUP BY device_id, pass, dtype, cache, launch, clock_mode, width, workload, amount
    ORDER BY count(DISTINCT subject || ' ' || window_keys || ' ' || L) DESC, count(DISTINCT L) DESC,
             count(*) DESC, workload DESC, pass = 'fwd' DESC, dtype, amount DESC, device_id DESC,
             width DESC, cache, launch, clock_mode
    LIMIT 1),
matched AS MATERIALIZED (
    SELECT compared.*,
           -- The other axes; one that follows the length (Lk) is the same shape at every length.
           (SELECT group_concat(name || '=' || text) FROM (
                SELECT name, CASE WHEN name LIKE 'L%' AND a.value = compared.L THEN 'L' ELSE text END
                             AS text
                FROM cell_axis a
                WHERE a.cell_id = compared.cell_id AND name NOT IN ('B', 'L', 'window')
                ORDER BY name)) AS variant
    FROM compared JOIN chosen USING (device_id, pass, dtype, cache, launch, clock_mode, width)
    WHERE chosen.amount = CASE chosen.workload WHEN 'tokens' THEN B * L ELSE B END),
popular AS (
    SELECT *, count(*) OVER (PARTITION BY subject, window_keys, variant) AS votes FROM matched),
-- One cell for each place in the figure: where a subject has several shapes of this width, the one
-- measured most.
drawn AS MATERIALIZED (
    SELECT * FROM (
        SELECT *, row_number() OVER (PARTITION BY subject, window_keys, provider, L
                                     ORDER BY votes DESC, variant, key) AS choice
        FROM popular)
    WHERE choice = 1),
-- The fastest provider of each subject at each length.
fastest AS (
    SELECT * FROM (
        SELECT *, row_number() OVER (PARTITION BY subject, window_keys, L ORDER BY ns, provider) AS place
        FROM drawn)
    WHERE place = 1)
