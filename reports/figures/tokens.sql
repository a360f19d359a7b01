-- Tokens (B * L) per second.
SELECT subject, window_keys, provider, L, L AS x, 1e9 * B * L / ns AS y, 1e9 * B * L / hi AS lo,
       1e9 * B * L / lo AS hi
FROM drawn ORDER BY subject, window_keys, provider, L
