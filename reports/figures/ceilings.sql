-- The ceilings measured on device ?2: of campaign ?1 where it has any, else the newest.
SELECT name, unit, value, lo, hi FROM (
    SELECT x.name, x.unit, x.value, x.lo, x.hi,
           row_number() OVER (PARTITION BY x.name
                              ORDER BY c.uuid IS ?1 DESC, c.turn DESC, c.campaign_id DESC) AS age
    FROM ceiling x JOIN campaign c USING (campaign_id) WHERE x.device_id = ?2)
WHERE age = 1 ORDER BY name
