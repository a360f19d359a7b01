-- Rows of the attached store `other` that this one has not, by uuids and content hashes; its local
-- ids mean nothing here. All of it is one transaction.

INSERT OR IGNORE INTO main.metric SELECT name, unit, better, source, doc FROM other.metric;

INSERT OR IGNORE INTO main.device(uuid, backend, name, arch, pci, sm_count, memory_bytes, l2_bytes,
                                  max_sm_mhz, max_memory_mhz, memory_bus_bits)
SELECT uuid, backend, name, arch, pci, sm_count, memory_bytes, l2_bytes, max_sm_mhz,
       max_memory_mhz, memory_bus_bits
FROM other.device ORDER BY device_id;

INSERT OR IGNORE INTO main.environment(fingerprint, driver, toolkit, cublas, cufft, cudnn, cupti,
                                       compiler, flags, host, kernel, os, cpu, ecc, mig,
                                       power_limit_w)
SELECT fingerprint, driver, toolkit, cublas, cufft, cudnn, cupti, compiler, flags, host, kernel,
       os, cpu, ecc, mig, power_limit_w
FROM other.environment ORDER BY env_id;

INSERT OR IGNORE INTO main.cell(key, hash, kind, subject, provider, pass, dtype, cache, launch,
                                clock_mode)
SELECT key, hash, kind, subject, provider, pass, dtype, cache, launch, clock_mode
FROM other.cell ORDER BY cell_id;

-- Their ids and ours of the same thing.
CREATE TEMP TABLE device_of AS
SELECT o.device_id AS other_id, m.device_id AS id
FROM other.device o JOIN main.device m ON m.uuid = o.uuid;
CREATE TEMP TABLE env_of AS
SELECT o.env_id AS other_id, m.env_id AS id
FROM other.environment o JOIN main.environment m ON m.fingerprint = o.fingerprint;
CREATE TEMP TABLE cell_of(other_id INTEGER PRIMARY KEY, id INTEGER);
INSERT INTO cell_of
SELECT o.cell_id, m.cell_id FROM other.cell o JOIN main.cell m ON m.key = o.key;

INSERT OR IGNORE INTO main.cell_axis
SELECT c.id, a.name, a.value, a.text
FROM other.cell_axis a JOIN cell_of c ON c.other_id = a.cell_id;

-- --- campaigns ---

CREATE TEMP TABLE merged(what TEXT PRIMARY KEY, n INTEGER);
INSERT INTO merged SELECT 'campaigns', count(*) FROM other.campaign o
WHERE NOT EXISTS (SELECT 1 FROM main.campaign m WHERE m.uuid = o.uuid);

INSERT OR IGNORE INTO main.campaign(uuid, suite, label, plan_hash, argv, version, git_commit,
                                    git_dirty, seed, planned, env_id, device_id, started, ended,
                                    state, policy, turn)
SELECT o.uuid, o.suite, o.label, o.plan_hash, o.argv, o.version, o.git_commit, o.git_dirty, o.seed,
       o.planned, e.id, d.id, o.started, o.ended, o.state, o.policy, o.turn
FROM other.campaign o JOIN env_of e ON e.other_id = o.env_id
     JOIN device_of d ON d.other_id = o.device_id
ORDER BY o.turn, o.campaign_id;

CREATE TEMP TABLE campaign_of(other_id INTEGER PRIMARY KEY, id INTEGER);
INSERT INTO campaign_of
SELECT o.campaign_id, m.campaign_id
FROM other.campaign o JOIN main.campaign m ON m.uuid = o.uuid;

INSERT OR IGNORE INTO main.ceiling(campaign_id, name, device_id, env_id, unit, value, lo, hi, sm_mhz)
SELECT c.id, x.name, d.id, e.id, x.unit, x.value, x.lo, x.hi, x.sm_mhz
FROM other.ceiling x JOIN campaign_of c ON c.other_id = x.campaign_id
     JOIN device_of d ON d.other_id = x.device_id JOIN env_of e ON e.other_id = x.env_id;

-- --- runs ---

CREATE TEMP TABLE fresh AS
SELECT o.run_id AS other_id, c.id AS campaign_id, k.id AS cell_id, o.replicate, o.attempt
FROM other.run o JOIN campaign_of c ON c.other_id = o.campaign_id
     JOIN cell_of k ON k.other_id = o.cell_id
WHERE NOT EXISTS (SELECT 1 FROM main.run m WHERE m.uuid = o.uuid)
ORDER BY o.run_id;

-- A campaign that was resumed in both stores measured the same replicate twice: theirs become
-- further attempts, of which the last counts.
CREATE TEMP TABLE shifted AS
SELECT f.campaign_id, f.cell_id, f.replicate, 1 + x.most - min(f.attempt) AS shift
FROM fresh f JOIN (SELECT campaign_id, cell_id, replicate, max(attempt) AS most FROM main.run
                   GROUP BY 1, 2, 3) x USING (campaign_id, cell_id, replicate)
GROUP BY 1, 2, 3 HAVING min(f.attempt) <= x.most;

INSERT INTO main.run(uuid, campaign_id, cell_id, env_id, device_id, replicate, attempt, status,
                     reason, started, harness_version, kernel_hash, n, median_ns, lo_ns, hi_ns,
                     min_ns, mad_ns, cycles, sm_mhz, setup_ns, peak_bytes, samples, versions,
                     checksum)
SELECT o.uuid, f.campaign_id, f.cell_id, e.id, d.id, o.replicate,
       o.attempt + coalesce(s.shift, 0), o.status, o.reason, o.started, o.harness_version,
       o.kernel_hash, o.n, o.median_ns, o.lo_ns, o.hi_ns, o.min_ns, o.mad_ns, o.cycles, o.sm_mhz,
       o.setup_ns, o.peak_bytes, o.samples, o.versions, o.checksum
FROM fresh f JOIN other.run o ON o.run_id = f.other_id JOIN env_of e ON e.other_id = o.env_id
     JOIN device_of d ON d.other_id = o.device_id
     LEFT JOIN shifted s ON s.campaign_id = f.campaign_id AND s.cell_id = f.cell_id
         AND s.replicate = f.replicate
ORDER BY f.other_id;

CREATE TEMP TABLE run_of(other_id INTEGER PRIMARY KEY, id INTEGER);
INSERT INTO run_of
SELECT f.other_id, m.run_id
FROM fresh f JOIN other.run o ON o.run_id = f.other_id JOIN main.run m ON m.uuid = o.uuid;

INSERT INTO main.value
SELECT r.id, x.metric, x.value, x.n, x.spread, x.sm_mhz, x.pass, x.validity
FROM run_of r JOIN other.value x ON x.run_id = r.other_id;
INSERT INTO main.kernel
SELECT r.id, x.i, x.name, x.ns, x.grid, x.block, x.registers, x.shared_bytes, x.symbol
FROM run_of r JOIN other.kernel x ON x.run_id = r.other_id;
INSERT INTO main.check_result
SELECT r.id, x.tensor, x.slice, x.rel_l2, x.max_abs, x.tolerance, x.tolerance_max
FROM run_of r JOIN other.check_result x ON x.run_id = r.other_id;

INSERT INTO merged SELECT 'runs', count(*) FROM fresh;
INSERT INTO merged SELECT 'known_runs', count(*) - (SELECT count(*) FROM fresh) FROM other.run;
INSERT INTO merged SELECT 'renumbered', count(*) FROM shifted;

-- A campaign that was copied while it ran: its end is that of the copy that went further.
UPDATE main.campaign SET state = o.state, ended = o.ended, planned = o.planned
FROM other.campaign o
WHERE o.uuid = main.campaign.uuid AND o.state <> 'running'
  AND (main.campaign.state = 'running' OR EXISTS (
      SELECT 1 FROM fresh f WHERE f.campaign_id = main.campaign.campaign_id));

-- --- what was judged, answered and named ---

INSERT OR IGNORE INTO main.gate(uuid, campaign_id, baseline_id, baseline_name, rerun_id,
                                baseline_rerun_id, judged, version, git_commit, settings, exit_code,
                                why, sentinels, sentinel_alarms, controls, control_shift,
                                control_lo, control_hi)
SELECT g.uuid, c.id, b.id, g.baseline_name, r.id, x.id, g.judged, g.version, g.git_commit,
       g.settings, g.exit_code, g.why, g.sentinels, g.sentinel_alarms, g.controls, g.control_shift,
       g.control_lo, g.control_hi
FROM other.gate g JOIN campaign_of c ON c.other_id = g.campaign_id
     JOIN campaign_of b ON b.other_id = g.baseline_id
     LEFT JOIN campaign_of r ON r.other_id = g.rerun_id
     LEFT JOIN campaign_of x ON x.other_id = g.baseline_rerun_id
ORDER BY g.gate_id;

INSERT INTO merged SELECT 'verdicts', count(*) FROM other.verdict o
WHERE NOT EXISTS (SELECT 1 FROM main.verdict m WHERE m.uuid = o.uuid);
INSERT OR IGNORE INTO main.verdict(uuid, gate_id, cell_id, metric, role, verdict, effect, effect_lo,
                                   effect_hi, p, q, floor, detectable, n_baseline, n_night,
                                   n_wanted, confirmed, cause, judged)
SELECT v.uuid, m.gate_id, k.id, v.metric, v.role, v.verdict, v.effect, v.effect_lo, v.effect_hi,
       v.p, v.q, v.floor, v.detectable, v.n_baseline, v.n_night, v.n_wanted, v.confirmed, v.cause,
       v.judged
FROM other.verdict v JOIN other.gate g USING (gate_id) JOIN main.gate m ON m.uuid = g.uuid
     JOIN cell_of k ON k.other_id = v.cell_id
ORDER BY v.verdict_id;

-- One that was copied before its suspects were measured again.
UPDATE main.verdict SET verdict = v.verdict, confirmed = v.confirmed, cause = v.cause
FROM other.verdict v JOIN other.gate g USING (gate_id)
WHERE v.uuid = main.verdict.uuid AND g.exit_code IS NOT NULL AND (
    SELECT m.exit_code FROM main.gate m WHERE m.gate_id = main.verdict.gate_id) IS NULL;
UPDATE main.gate SET exit_code = g.exit_code, why = g.why,
    rerun_id = (SELECT id FROM campaign_of WHERE other_id = g.rerun_id),
    baseline_rerun_id = (SELECT id FROM campaign_of WHERE other_id = g.baseline_rerun_id)
FROM other.gate g
WHERE g.uuid = main.gate.uuid AND main.gate.exit_code IS NULL AND g.exit_code IS NOT NULL;

INSERT INTO merged SELECT 'answers', count(*) FROM other.acknowledgement o
WHERE NOT EXISTS (SELECT 1 FROM main.acknowledgement m WHERE m.uuid = o.uuid);
INSERT OR IGNORE INTO main.acknowledgement(uuid, verdict_id, kind, reason, until, author, made)
SELECT a.uuid, m.verdict_id, a.kind, a.reason, a.until, a.author, a.made
FROM other.acknowledgement a JOIN other.verdict v USING (verdict_id)
     JOIN main.verdict m ON m.uuid = v.uuid
ORDER BY a.acknowledgement_id;

-- A name that is taken here stays as it is; the kept programs are beside the other store.
INSERT INTO merged SELECT 'other_baselines', count(*)
FROM other.baseline o JOIN campaign_of c ON c.other_id = o.campaign_id
     JOIN main.baseline m ON m.name = o.name AND m.campaign_id <> c.id;
INSERT INTO merged SELECT 'baselines', count(*) FROM other.baseline o
WHERE NOT EXISTS (SELECT 1 FROM main.baseline m WHERE m.name = o.name);
INSERT OR IGNORE INTO main.baseline(name, campaign_id, tree_path, tree_hash, made)
SELECT o.name, c.id, '', '', o.made
FROM other.baseline o JOIN campaign_of c ON c.other_id = o.campaign_id;
