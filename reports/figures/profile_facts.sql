-- Where and how run ?1 was made: one row. Column names are the page's words.
-- printf() shows NULL as 0, so what may be unknown is asked first.
SELECT d.name AS "GPU or CPU", d.arch AS "Architecture",
       iif(d.max_sm_mhz > 0 AND d.max_memory_mhz > 0,
           printf('%.0f MHz SM, %.0f MHz memory', d.max_sm_mhz, d.max_memory_mhz), NULL)
           AS "Highest clocks",
       k.cache || ', ' || k.launch AS "Timed",
       -- Counters and trace are of single calls, whatever launches the samples.
       iif(EXISTS (SELECT 1 FROM kernel WHERE kernel.run_id = r.run_id)
           OR EXISTS (SELECT 1 FROM value v JOIN metric m ON m.name = v.metric
                      WHERE v.run_id = r.run_id AND v.validity = 'ok' AND instr(m.source, '__') > 0),
           k.cache || ', ' || iif(k.launch = 'plain', 'plain', 'plain calls'), NULL)
           AS "Counted and traced",
       iif(r.sm_mhz > 0, printf('%.0f MHz', r.sm_mhz), NULL) AS "SM clock while timing",
       (SELECT iif(max(v.sm_mhz) - min(v.sm_mhz) < 1, printf('%.0f MHz', max(v.sm_mhz)),
                    iif(max(v.sm_mhz) > 0, printf('%.0f to %.0f MHz', min(v.sm_mhz), max(v.sm_mhz)),
                        NULL))
        FROM value v JOIN metric m ON m.name = v.metric
        WHERE v.run_id = r.run_id AND instr(m.source, '__') > 0) AS "SM clock while counting",
       (SELECT printf('%.0f C', value) FROM value v
        WHERE v.run_id = r.run_id AND v.metric = 'temperature_c' AND value IS NOT NULL)
           AS "Temperature",
       (SELECT printf('%.0f W', value) FROM value v
        WHERE v.run_id = r.run_id AND v.metric = 'power_w' AND value IS NOT NULL) AS "Power",
       iif(e.power_limit_w > 0, printf('%.0f W', e.power_limit_w), NULL) AS "Power limit",
       e.driver AS "Driver", e.toolkit AS "CUDA toolkit", e.cupti AS "CUPTI", e.host AS "Host",
       iif(r.setup_ns >= 0, printf('%.3g ms', r.setup_ns / 1e6), NULL) AS "Set-up",
       iif(r.peak_bytes >= 0, printf('%.4g MiB', r.peak_bytes / 1048576.0), NULL)
           AS "Tensors and workspace",
       iif(c.suite = '', 'no suite', c.suite) || iif(c.label = '', '', ' "' || c.label || '"') || ', ' || c.uuid AS "Campaign",
       r.run_id || ', ' || r.uuid AS "Run",
       strftime('%Y-%m-%d %H:%M:%S UTC', r.started, 'unixepoch') AS "Started",
       c.version || ' ' || c.git_commit || iif(c.git_dirty, ' (with local changes)', '')
           AS "seqmark",
       'seqmark show ' || substr(r.uuid, 1, 8) || ' --repro' AS "The command that repeats it"
FROM run r JOIN cell k USING (cell_id) JOIN campaign c USING (campaign_id)
     JOIN device d ON d.device_id = r.device_id JOIN environment e ON e.env_id = r.env_id
WHERE r.run_id = CAST(?1 AS INTEGER)
