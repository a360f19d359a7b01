-- The runs of one side of a comparison, cell by cell, the cells of one shape together. ?1: uuid of the
-- campaign, ?2: 0 or 1 for its even or odd replicates, -1 for all. Only the newest attempt of each
-- replicate counts. A run without a time says why in its status and reason.
WITH attempt AS (
    SELECT r.*, c.seed, row_number() OVER (PARTITION BY r.cell_id, r.replicate ORDER BY r.attempt DESC) AS age
    FROM run r JOIN campaign c USING (campaign_id)
    WHERE c.uuid = ?1 AND (?2 < 0 OR r.replicate % 2 = ?2))
SELECT count(*) OVER () AS total, k.key, replace(k.key, '@' || k.provider || '/', '@') AS shape,
       k.subject, k.provider, k.pass, k.dtype,
       CASE WHEN r.status IN ('ok', 'noisy', 'throttled') THEN r.median_ns END AS ns, r.cycles,
       r.samples, r.status, r.reason,
       max((SELECT value FROM value WHERE run_id = r.run_id AND metric = 'width'))
           OVER (PARTITION BY r.cell_id) AS width,
       (SELECT value FROM value WHERE run_id = r.run_id AND metric = 'bytes') AS bytes,
       (SELECT value FROM value WHERE run_id = r.run_id AND metric = 'matrix_flops') AS matrix_flops,
       r.kernel_hash, d.name AS device, d.uuid AS device_uuid, e.power_limit_w,
       r.device_id, r.seed
FROM attempt r JOIN cell k USING (cell_id) JOIN device d ON d.device_id = r.device_id
     JOIN environment e ON e.env_id = r.env_id
WHERE r.age = 1
ORDER BY k.kind DESC, k.subject, k.pass, k.dtype, k.cache, k.launch,
         (SELECT value FROM cell_axis a WHERE a.cell_id = k.cell_id AND a.name = 'B'),
         (SELECT value FROM cell_axis a WHERE a.cell_id = k.cell_id AND a.name = 'L'),
         shape, k.provider, r.replicate
