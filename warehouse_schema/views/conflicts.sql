-- One image and finding whose evidence disagrees, the most balanced dispute first.
SELECT
    l.image_id,
    l.finding,
    l.label,
    l.reason,
    l.score,
    l.n_evidence,
    rank() OVER (PARTITION BY l.finding ORDER BY abs(l.score), l.n_evidence DESC, l.image_id) AS rank
FROM image_labels AS l
WHERE l.is_conflict
ORDER BY l.finding, rank
