-- Campaigns in their order. ?1: suite, ?2: label, each NULL for all; ?3: turn of the first. What a gate
-- measured again is no night of its own, and one of the two is old code.
SELECT campaign_id, uuid, suite, label, git_commit, git_dirty, state, started, turn,
       strftime('%Y-%m-%d %H:%M', started, 'unixepoch') AS started_utc
FROM campaign
WHERE (?1 IS NULL OR suite = ?1) AND (?2 IS NULL OR label = ?2) AND turn >= ?3
  AND campaign_id NOT IN (SELECT rerun_id FROM gate WHERE rerun_id IS NOT NULL
                          UNION SELECT baseline_rerun_id FROM gate WHERE baseline_rerun_id IS NOT NULL)
ORDER BY turn, campaign_id
