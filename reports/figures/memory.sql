-- Tensors and workspace, in GiB: planned, so without interval.
SELECT subject, window_keys, provider, L, L AS x, peak_bytes / 1073741824.0 AS y, NULL AS lo, NULL AS hi
FROM drawn WHERE peak_bytes > 0 ORDER BY subject, window_keys, provider, L
