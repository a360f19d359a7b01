-- Compulsory flops per picosecond.
SELECT subject, window_keys, provider, L, L AS x, flops / ns / 1e3 AS y, flops / hi / 1e3 AS lo,
       flops / lo / 1e3 AS hi
FROM drawn WHERE flops > 0 ORDER BY subject, window_keys, provider, L
