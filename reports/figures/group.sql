-- What the figures of this kind have in common; device_id last, for the ceilings.
SELECT device, pass, dtype, cache, launch, clock_mode, width, workload, amount, device_id,
       (SELECT count(*) FROM matched) - (SELECT count(*) FROM drawn) AS left_out
FROM chosen
