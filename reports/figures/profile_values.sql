-- Every number of run ?1.
SELECT v.metric, v.value, v.n, v.spread, v.sm_mhz, v.validity, m.unit, m.source, m.doc
FROM value v LEFT JOIN metric m ON m.name = v.metric
WHERE v.run_id = CAST(?1 AS INTEGER) ORDER BY v.metric
