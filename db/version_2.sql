-- From version 1 to version 2.

ALTER TABLE campaign ADD COLUMN policy TEXT NOT NULL DEFAULT ''; -- JSON; empty: nobody told
ALTER TABLE run ADD COLUMN versions TEXT NOT NULL DEFAULT '';
ALTER TABLE run ADD COLUMN checksum TEXT NOT NULL DEFAULT '';
ALTER TABLE ceiling ADD COLUMN sm_mhz REAL;
ALTER TABLE kernel ADD COLUMN symbol TEXT NOT NULL DEFAULT ''; -- the name as the linker has it

-- A run has a time or it has none, whatever its status: all samples of a throttled run may be dropped.

DROP VIEW v_result;
CREATE VIEW v_result AS
SELECT
    r.run_id, r.uuid AS run_uuid, c.uuid AS campaign, c.label, c.suite,
    k.key, k.hash, k.kind, k.subject, k.provider, k.pass, k.dtype,
    k.cache, k.launch, k.clock_mode,
    (SELECT value FROM cell_axis a WHERE a.cell_id = k.cell_id AND a.name = 'B') AS B,
    (SELECT value FROM cell_axis a WHERE a.cell_id = k.cell_id AND a.name = 'L') AS L,
    (SELECT value FROM cell_axis a WHERE a.cell_id = k.cell_id AND a.name = 'D') AS D,
    (SELECT value FROM cell_axis a WHERE a.cell_id = k.cell_id AND a.name = 'H') AS H,
    (SELECT value FROM cell_axis a WHERE a.cell_id = k.cell_id AND a.name = 'N') AS N,
    (SELECT value FROM cell_axis a WHERE a.cell_id = k.cell_id AND a.name = 'window') AS window_keys,
    r.replicate, r.attempt, r.status, r.n AS n_samples, -- not n: SQL would take it for the axis N
    r.median_ns, r.lo_ns, r.hi_ns, r.min_ns, r.mad_ns, r.sm_mhz, r.setup_ns, r.peak_bytes,
    f.value AS flops, b.value AS bytes, w.value AS width, fl.value AS floor_ns,
    f.value / r.median_ns / 1e3 AS tflops,     -- flops per ns = GFLOP/s; / 1e3 = TFLOP/s
    b.value / r.median_ns AS gbytes_per_s,
    100.0 * fl.value / r.median_ns AS percent_of_floor,
    d.uuid AS device_uuid, d.name AS device, r.cycles
FROM run r
JOIN campaign c USING (campaign_id)
JOIN cell k USING (cell_id)
JOIN device d ON d.device_id = r.device_id
LEFT JOIN value f ON f.run_id = r.run_id AND f.metric = 'flops'
LEFT JOIN value b ON b.run_id = r.run_id AND b.metric = 'bytes'
LEFT JOIN value w ON w.run_id = r.run_id AND w.metric = 'width'
LEFT JOIN value fl ON fl.run_id = r.run_id AND fl.metric = 'floor_ns'
WHERE r.median_ns IS NOT NULL;

DROP VIEW v_failure;
CREATE VIEW v_failure AS
SELECT r.run_id, r.uuid AS run_uuid, c.uuid AS campaign, k.key, k.hash, k.kind, k.subject,
       k.provider, k.dtype, r.status, r.reason
FROM run r
JOIN campaign c USING (campaign_id)
JOIN cell k USING (cell_id)
WHERE r.median_ns IS NULL;
