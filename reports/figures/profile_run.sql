-- The run that a page is about. ?1: run id.
SELECT k.key, k.hash, k.subject, k.dtype, r.status, r.reason, d.name, d.backend, c.uuid,
       r.n, r.median_ns, r.lo_ns, r.hi_ns, r.sm_mhz, r.device_id, k.cache, k.launch,
       -- two transfers a clock of the memory
       d.memory_bus_bits / 8 * d.max_memory_mhz * 2 / 1e3
FROM run r JOIN cell k USING (cell_id) JOIN campaign c USING (campaign_id)
     JOIN device d ON d.device_id = r.device_id
WHERE r.run_id = CAST(?1 AS INTEGER)
