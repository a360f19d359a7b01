-- Hardware counters (their source is a counter's name, with "__" in it), by cell; the newest run's.
SELECT k.key AS cell, m.name AS metric, m.unit, x.value, x.validity, m.doc
FROM value x JOIN attempt USING (run_id) JOIN run r USING (run_id) JOIN cell k USING (cell_id)
     JOIN metric m ON m.name = x.metric
WHERE instr(m.source, '__') > 0
GROUP BY k.key, m.name HAVING r.run_id = max(r.run_id)
ORDER BY k.kind DESC, k.key, m.name
