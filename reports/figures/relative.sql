-- Time of full attention over time of the subject, each by its fastest provider at that length.
SELECT f.subject, f.window_keys, 'fastest of each' AS provider, f.L, f.L AS x, a.ns / f.ns AS y, a.lo / f.hi AS lo,
       a.hi / f.lo AS hi
FROM fastest f JOIN fastest a USING (L)
WHERE a.window_keys = 0 AND a.subject = CASE ?2 WHEN 'op' THEN 'attention' ELSE 'transformer' END
  AND NOT (f.subject = a.subject AND f.window_keys = 0)
ORDER BY f.subject, f.window_keys, f.L
