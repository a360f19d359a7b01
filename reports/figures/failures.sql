-- Runs without a time, by status and reason, and those whose cache was not in the state of their cell;
-- keys: the cells, a line each.
SELECT status, reason, sum(runs) AS runs, count(*) AS cells, group_concat(key, char(10)) AS keys
FROM (SELECT status, reason, key, count(*) AS runs FROM v_failure JOIN attempt USING (run_id)
      GROUP BY status, reason, key
      UNION ALL
      SELECT 'wrong cache', substr(x.validity, 15), k.key, count(*)
      FROM value x JOIN attempt USING (run_id) JOIN run USING (run_id) JOIN cell k USING (cell_id)
      WHERE x.metric = 'cold_read_ratio' AND x.validity LIKE 'inconsistent: %'
      GROUP BY x.validity, k.key
      ORDER BY 3)
GROUP BY status, reason
ORDER BY status IN ('unsupported', 'skipped'), cells DESC, status, reason
