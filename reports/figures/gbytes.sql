-- Compulsory bytes per nanosecond.
SELECT subject, window_keys, provider, L, L AS x, bytes / ns AS y, bytes / hi AS lo, bytes / lo AS hi
FROM drawn WHERE bytes > 0 ORDER BY subject, window_keys, provider, L
