-- The ceilings of campaign ?1.
SELECT x.name, x.unit, x.value, x.lo, x.hi, x.sm_mhz
FROM ceiling x JOIN campaign c USING (campaign_id) WHERE c.uuid = ?1
