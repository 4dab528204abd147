-- One test image whose prediction and label disagree most: a high-scoring negative or a low-scoring positive.
SELECT
    p.run_id,
    p.image_id,
    p.finding,
    l.label,
    p.score,
    CASE WHEN l.label = 'negative' THEN p.score ELSE 1 - p.score END AS suspicion,
    rank() OVER (
        PARTITION BY p.run_id, p.finding
        ORDER BY CASE WHEN l.label = 'negative' THEN p.score ELSE 1 - p.score END DESC, p.image_id
    ) AS rank
FROM predictions AS p
JOIN image_labels AS l USING (image_id, finding)
WHERE p.network = 'student' AND p.split = 'test' AND l.label IN ('positive', 'negative')
