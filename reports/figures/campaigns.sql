-- What was run, where and how: one row a campaign, newest first. Column names are the page's words.
-- printf() shows NULL as 0, so what may be unknown is asked first.
SELECT d.name AS "GPU or CPU", d.arch AS "Architecture", d.backend AS "Backend",
       d.uuid AS "Device id", d.pci AS "PCI bus id", d.sm_count AS "SMs or cores",
       iif(d.memory_bytes > 0, printf('%.1f GiB', d.memory_bytes / 1073741824.0), NULL)
           AS "Device memory",
       iif(d.l2_bytes > 0, printf('%.1f MiB', d.l2_bytes / 1048576.0), NULL) AS "L2 cache",
       iif(d.max_sm_mhz > 0 AND d.max_memory_mhz > 0,
           printf('%.0f MHz SM, %.0f MHz memory', d.max_sm_mhz, d.max_memory_mhz), NULL)
           AS "Highest clocks",
       (SELECT printf('%.0f to %.0f MHz', min(r.sm_mhz), max(r.sm_mhz)) FROM run r
        WHERE r.campaign_id = c.campaign_id AND r.sm_mhz > 0 HAVING count(*) > 0)
           AS "SM clock while measuring",
       iif(e.power_limit_w > 0, printf('%.0f W', e.power_limit_w), NULL) AS "Power limit",
       e.ecc AS "ECC", e.mig AS "MIG",
       e.driver AS "Driver", e.toolkit AS "CUDA toolkit", e.cublas AS "cuBLAS", e.cufft AS "cuFFT",
       e.cudnn AS "cuDNN", e.cupti AS "CUPTI", e.compiler AS "Compiler", e.flags AS "Build flags",
       e.host AS "Host", e.cpu AS "Host CPU", e.os AS "System", e.kernel AS "Kernel",
       iif(c.suite = '', 'none', c.suite) AS "Suite", iif(c.label = '', 'none', c.label) AS "Label",
       c.argv AS "Command", c.seed AS "Seed",
       c.version AS "seqmark version",
       c.git_commit || CASE WHEN c.git_dirty THEN ' (with local changes)' ELSE '' END AS "Commit",
       c.uuid AS "Campaign", c.state AS "State",
       strftime('%Y-%m-%d %H:%M:%S UTC', c.started, 'unixepoch') AS "Started",
       strftime('%Y-%m-%d %H:%M:%S UTC', c.ended, 'unixepoch') AS "Ended",
       c.planned AS "Runs planned",
       (SELECT group_concat(count || ' ' || status, ', ') FROM (
            SELECT count(*) AS count, status FROM run r WHERE r.campaign_id = c.campaign_id
            GROUP BY status ORDER BY count(*) DESC, status)) AS "Runs stored"
FROM campaign c JOIN device d USING (device_id) JOIN environment e USING (env_id)
WHERE ?1 IS NULL OR c.uuid = ?1
ORDER BY c.turn DESC, c.campaign_id DESC
