-- Runs without a time, by status and reason; keys: the cells, a line each.
SELECT status, reason, sum(runs) AS runs, count(*) AS cells, group_concat(key, char(10)) AS keys
FROM (SELECT status, reason, key, count(*) AS runs FROM v_failure JOIN attempt USING (run_id)
      GROUP BY status, reason, key ORDER BY key)
GROUP BY status, reason
ORDER BY status IN ('unsupported', 'skipped'), cells DESC, status, reason
