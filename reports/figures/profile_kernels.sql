-- The kernels of run ?1: launches of the same kernel in the same shape together, most time first.
SELECT name, grid, block, registers, shared_bytes, sum(ns), count(*)
FROM kernel WHERE run_id = CAST(?1 AS INTEGER)
GROUP BY name, grid, block, registers, shared_bytes ORDER BY sum(ns) DESC, min(i)
