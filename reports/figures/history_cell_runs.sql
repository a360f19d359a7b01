-- The same of cell ?2 alone.
SELECT cell_id, replicate, env_id, device_id, harness_version, status, kernel_hash, run_id,
       CASE WHEN status IN ('ok', 'noisy', 'throttled') THEN median_ns END AS ns, lo_ns, hi_ns
FROM run WHERE campaign_id = ?1 AND cell_id = ?2 ORDER BY campaign_id, cell_id, replicate, attempt
