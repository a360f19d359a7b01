-- Counted metrics of each cell that has any: the newest run's.
SELECT k.subject, k.kind, k.provider, k.dtype, k.key, m.name, m.unit, x.value, x.validity
FROM value x JOIN attempt USING (run_id) JOIN run r USING (run_id) JOIN cell k USING (cell_id)
     JOIN metric m ON m.name = x.metric
WHERE x.pass <> ''
ORDER BY k.kind DESC, k.key
