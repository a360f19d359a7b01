-- The proof of run ?1.
SELECT tensor, slice, rel_l2, max_abs, tolerance, tolerance_max
FROM check_result WHERE run_id = CAST(?1 AS INTEGER)
