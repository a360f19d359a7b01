-- From version 2 to version 3: what the gate says, what people answer, what a baseline keeps, and
-- an order of campaigns that a clock set back does not turn round.
-- Effects, floors and detectable changes are fractions of the baseline: 0.03 is 3 % more of it.

CREATE TABLE gate (
    gate_id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    campaign_id INTEGER NOT NULL REFERENCES campaign, -- the night
    baseline_id INTEGER NOT NULL REFERENCES campaign,
    baseline_name TEXT NOT NULL, -- empty: the campaign was given itself
    rerun_id INTEGER REFERENCES campaign, -- of the suspects, tonight's code
    baseline_rerun_id INTEGER REFERENCES campaign, -- the baseline's kept code
    judged REAL NOT NULL,
    version TEXT NOT NULL,
    git_commit TEXT NOT NULL,
    settings TEXT NOT NULL, -- JSON
    exit_code INTEGER, -- NULL: the suspects are still to be confirmed
    why TEXT NOT NULL,
    sentinels INTEGER NOT NULL, sentinel_alarms INTEGER NOT NULL,
    controls INTEGER NOT NULL, control_shift REAL, control_lo REAL, control_hi REAL
) STRICT;

CREATE TABLE verdict (
    verdict_id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    gate_id INTEGER NOT NULL REFERENCES gate ON DELETE CASCADE,
    cell_id INTEGER NOT NULL REFERENCES cell,
    metric TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('cell', 'sentinel')),
    verdict TEXT NOT NULL,
    effect REAL, effect_lo REAL, effect_hi REAL,
    p REAL, q REAL,
    floor REAL, detectable REAL,
    n_baseline INTEGER NOT NULL, n_night INTEGER NOT NULL,
    n_wanted INTEGER, -- replicates a side that would settle it
    confirmed TEXT NOT NULL
        CHECK (confirmed IN ('', 'pending', 'confirmed', 'dismissed', 'unresolved', 'clocks_power')),
    cause TEXT NOT NULL,
    judged REAL NOT NULL,
    UNIQUE (gate_id, cell_id, metric, role)
) STRICT;
CREATE INDEX verdict_cell ON verdict(cell_id, metric);

CREATE TABLE acknowledgement (
    acknowledgement_id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    verdict_id INTEGER NOT NULL REFERENCES verdict ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('expected', 'accepted', 'flake')),
    reason TEXT NOT NULL,
    until REAL, -- NULL: no end
    author TEXT NOT NULL,
    made REAL NOT NULL
) STRICT;
CREATE INDEX acknowledgement_verdict ON acknowledgement(verdict_id);

ALTER TABLE baseline RENAME COLUMN binary_path TO tree_path; -- empty: none is kept
ALTER TABLE baseline ADD COLUMN tree_hash TEXT NOT NULL DEFAULT '';
ALTER TABLE baseline ADD COLUMN made REAL; -- NULL: nobody told

ALTER TABLE campaign ADD COLUMN turn REAL NOT NULL DEFAULT 0;
-- What a campaign that begins is given: its start, or 1 ms after the turn of the one before.
UPDATE campaign SET turn = ordered.turn FROM (
    SELECT campaign_id, max(started, coalesce(round(0.001 * place + max(started - 0.001 * place)
        OVER (ORDER BY campaign_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 3), started))
        AS turn
    FROM (SELECT campaign_id, started, row_number() OVER (ORDER BY campaign_id) AS place
          FROM campaign)) AS ordered
WHERE ordered.campaign_id = campaign.campaign_id;

CREATE VIEW v_baseline AS
SELECT b.name, b.made, c.uuid AS campaign, c.label, c.suite, c.started, c.state, c.git_commit,
       e.fingerprint, e.driver, e.toolkit, d.name AS device, d.uuid AS device_uuid,
       b.tree_path, b.tree_hash
FROM baseline b
JOIN campaign c USING (campaign_id)
JOIN environment e ON e.env_id = c.env_id
JOIN device d ON d.device_id = c.device_id;

-- One row a verdict, with the newest answer to it.
CREATE VIEW v_verdict AS
SELECT v.verdict_id, v.uuid AS verdict_uuid, g.uuid AS gate, v.judged,
       c.uuid AS campaign, c.label, b.uuid AS baseline, g.baseline_name,
       k.key, k.hash, k.subject, k.provider, k.pass, k.dtype,
       v.metric, v.role, v.verdict, v.effect, v.effect_lo, v.effect_hi, v.p, v.q, v.floor,
       v.detectable, v.n_baseline, v.n_night, v.n_wanted, v.confirmed, v.cause,
       a.kind AS ack_kind, a.reason AS ack_reason, a.until AS ack_until
FROM verdict v
JOIN gate g USING (gate_id)
JOIN campaign c ON c.campaign_id = g.campaign_id
JOIN campaign b ON b.campaign_id = g.baseline_id
JOIN cell k USING (cell_id)
LEFT JOIN acknowledgement a ON a.acknowledgement_id = (
    SELECT x.acknowledgement_id FROM acknowledgement x WHERE x.verdict_id = v.verdict_id
    ORDER BY x.made DESC, x.acknowledgement_id DESC LIMIT 1);
