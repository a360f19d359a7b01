-- Milliseconds of one launch.
SELECT subject, window_keys, provider, L, L AS x, ns / 1e6 AS y, lo / 1e6 AS lo, hi / 1e6 AS hi
FROM drawn ORDER BY subject, window_keys, provider, L
