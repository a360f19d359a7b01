-- The device of campaign ?1.
SELECT d.backend, d.name, d.arch, d.uuid, d.sm_count, d.l2_bytes, d.max_sm_mhz, d.max_memory_mhz,
       d.memory_bus_bits, c.uuid
FROM campaign c JOIN device d USING (device_id) WHERE c.uuid = ?1
