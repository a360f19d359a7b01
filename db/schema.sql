-- The store of seqmark, version 1 of it: what later versions change is in db/version_*.sql. Rows are
-- identified by uuids and content hashes, so that stores merge; the integer ids are local to one
-- file. Times are Unix seconds; durations ns unless named.
-- In a table WITHOUT ROWID the columns of the key come first: otherwise quick_check of SQLite 3.40
-- takes a NULL of one column for one of another and calls a sound file corrupt.

CREATE TABLE device (
    device_id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    backend TEXT NOT NULL,
    name TEXT NOT NULL,
    arch TEXT NOT NULL,
    pci TEXT NOT NULL,
    sm_count INTEGER,
    memory_bytes INTEGER,
    l2_bytes INTEGER,
    max_sm_mhz REAL,
    max_memory_mhz REAL,
    memory_bus_bits REAL
) STRICT;

CREATE TABLE environment (
    env_id INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    driver TEXT NOT NULL, toolkit TEXT NOT NULL,
    cublas TEXT NOT NULL, cufft TEXT NOT NULL, cudnn TEXT NOT NULL, cupti TEXT NOT NULL,
    compiler TEXT NOT NULL, flags TEXT NOT NULL,
    host TEXT NOT NULL, kernel TEXT NOT NULL, os TEXT NOT NULL, cpu TEXT NOT NULL,
    ecc TEXT NOT NULL, mig TEXT NOT NULL,
    power_limit_w REAL
) STRICT;

CREATE TABLE campaign (
    campaign_id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    suite TEXT NOT NULL,
    label TEXT NOT NULL,
    plan_hash TEXT NOT NULL,
    argv TEXT NOT NULL,
    version TEXT NOT NULL,
    git_commit TEXT NOT NULL,
    git_dirty INTEGER NOT NULL,
    seed TEXT NOT NULL, -- unsigned 64-bit, decimal
    planned INTEGER NOT NULL,
    env_id INTEGER NOT NULL REFERENCES environment,
    device_id INTEGER NOT NULL REFERENCES device,
    started REAL NOT NULL,
    ended REAL,
    state TEXT NOT NULL CHECK (state IN ('running', 'finished', 'budget', 'interrupted', 'failed'))
) STRICT;

CREATE TABLE cell (
    cell_id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    hash TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    provider TEXT NOT NULL,
    pass TEXT NOT NULL,
    dtype TEXT NOT NULL,
    cache TEXT NOT NULL,
    launch TEXT NOT NULL,
    clock_mode TEXT NOT NULL
) STRICT;
CREATE INDEX cell_hash ON cell(hash);

CREATE TABLE cell_axis (
    cell_id INTEGER NOT NULL REFERENCES cell,
    name TEXT NOT NULL,
    value REAL NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (cell_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE run (
    run_id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    campaign_id INTEGER NOT NULL REFERENCES campaign,
    cell_id INTEGER NOT NULL REFERENCES cell,
    env_id INTEGER NOT NULL REFERENCES environment,
    device_id INTEGER NOT NULL REFERENCES device,
    replicate INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    started REAL NOT NULL,
    harness_version INTEGER NOT NULL,
    kernel_hash TEXT NOT NULL,
    n INTEGER NOT NULL,
    median_ns REAL, lo_ns REAL, hi_ns REAL, min_ns REAL, mad_ns REAL,
    cycles REAL,
    sm_mhz REAL,
    setup_ns REAL,
    peak_bytes INTEGER,
    samples BLOB, -- n little-endian int32, ns, in the order taken
    UNIQUE (campaign_id, cell_id, replicate, attempt)
) STRICT;
CREATE INDEX run_cell ON run(cell_id);

CREATE TABLE metric (
    name TEXT PRIMARY KEY,
    unit TEXT NOT NULL,
    better TEXT NOT NULL,
    source TEXT NOT NULL,
    doc TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE value (
    run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    metric TEXT NOT NULL,
    value REAL,
    n INTEGER NOT NULL,
    spread REAL,
    sm_mhz REAL,
    pass TEXT NOT NULL DEFAULT '',
    validity TEXT NOT NULL,
    PRIMARY KEY (run_id, metric)
) STRICT, WITHOUT ROWID;

CREATE TABLE kernel (
    run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    i INTEGER NOT NULL,
    name TEXT NOT NULL,
    ns INTEGER NOT NULL,
    grid TEXT NOT NULL,
    block TEXT NOT NULL,
    registers INTEGER NOT NULL,
    shared_bytes INTEGER NOT NULL,
    PRIMARY KEY (run_id, i)
) STRICT, WITHOUT ROWID;

CREATE TABLE check_result (
    run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    tensor TEXT NOT NULL,
    slice TEXT NOT NULL,
    rel_l2 REAL, -- NULL: not finite
    max_abs REAL,
    tolerance REAL NOT NULL,
    tolerance_max REAL NOT NULL,
    PRIMARY KEY (run_id, tensor, slice)
) STRICT, WITHOUT ROWID;

CREATE TABLE ceiling (
    campaign_id INTEGER NOT NULL REFERENCES campaign,
    name TEXT NOT NULL,
    device_id INTEGER NOT NULL REFERENCES device,
    env_id INTEGER NOT NULL REFERENCES environment,
    unit TEXT NOT NULL,
    value REAL NOT NULL,
    lo REAL NOT NULL,
    hi REAL NOT NULL,
    PRIMARY KEY (campaign_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE baseline (
    name TEXT PRIMARY KEY,
    campaign_id INTEGER NOT NULL REFERENCES campaign,
    binary_path TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Stable views for users' own SQL.

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
    d.uuid AS device_uuid, d.name AS device
FROM run r
JOIN campaign c USING (campaign_id)
JOIN cell k USING (cell_id)
JOIN device d ON d.device_id = r.device_id
LEFT JOIN value f ON f.run_id = r.run_id AND f.metric = 'flops'
LEFT JOIN value b ON b.run_id = r.run_id AND b.metric = 'bytes'
LEFT JOIN value w ON w.run_id = r.run_id AND w.metric = 'width'
LEFT JOIN value fl ON fl.run_id = r.run_id AND fl.metric = 'floor_ns'
WHERE r.status IN ('ok', 'noisy', 'throttled');

CREATE VIEW v_failure AS
SELECT r.run_id, r.uuid AS run_uuid, c.uuid AS campaign, k.key, k.hash, k.kind, k.subject,
       k.provider, k.dtype, r.status, r.reason
FROM run r
JOIN campaign c USING (campaign_id)
JOIN cell k USING (cell_id)
WHERE r.status NOT IN ('ok', 'noisy', 'throttled');
