-- Every cell: measured ones first, then what failed or was skipped and was never measured since.
SELECT subject, window_keys, kind, provider, pass, dtype, B, L, width, status, '' AS reason, ns, lo, hi,
       1e9 * B * L / ns AS tokens_per_s, flops / ns / 1e3 AS tflops, bytes / ns AS gbytes_per_s,
       100.0 * floor_ns / ns AS percent_of_floor, peak_bytes, sm_mhz, runs, launches, cache, launch,
       clock_mode, device, hash, key,
       (SELECT value FROM value v WHERE v.run_id = point.run_id AND v.metric = 'above_ceiling_pct')
FROM point
UNION ALL
SELECT k.subject, coalesce((SELECT value FROM cell_axis a
                            WHERE a.cell_id = k.cell_id AND a.name = 'window'), 0),
       k.kind, k.provider, k.pass, k.dtype,
       (SELECT value FROM cell_axis a WHERE a.cell_id = k.cell_id AND a.name = 'B'),
       (SELECT value FROM cell_axis a WHERE a.cell_id = k.cell_id AND a.name = 'L'),
       NULL, f.status, f.reason, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       max(r.peak_bytes), NULL, count(*), NULL, k.cache, k.launch, k.clock_mode, d.name, k.hash,
       k.key, NULL
FROM v_failure f JOIN attempt USING (run_id) JOIN run r USING (run_id)
     JOIN cell k ON k.cell_id = r.cell_id JOIN device d ON d.device_id = r.device_id
GROUP BY r.cell_id, r.device_id, f.status, f.reason
ORDER BY 3 DESC, 1, 2, 4, 5, 6, 8, 7, 28, 10
