-- One test image whose label its own prediction speaks against: a high-scoring negative or a low-scoring positive, by rank within its finding (rank) and within its kind (kind_rank). Suspicion of a negative is the share of positives that score no higher, of a positive the share of negatives that score no lower: 1 is as wrong as can be, on any scale of scores.
WITH scored AS (
    SELECT
        p.run_id,
        p.finding,
        p.image_id,
        l.label,
        l.reason,
        l.visibility_tier,
        l.is_conflict,
        p.score,
        l.label = 'positive' AS is_positive
    FROM predictions AS p
    JOIN image_labels AS l USING (image_id, finding)
    WHERE p.network = 'student' AND p.split = 'test' AND l.label IN ('positive', 'negative')
),
placed AS (
    SELECT
        *,
        CASE WHEN is_positive
            THEN sum((NOT is_positive)::INTEGER) OVER (PARTITION BY run_id, finding ORDER BY score DESC)
                / nullif(sum((NOT is_positive)::INTEGER) OVER (PARTITION BY run_id, finding), 0)
            ELSE sum(is_positive::INTEGER) OVER (PARTITION BY run_id, finding ORDER BY score)
                / nullif(sum(is_positive::INTEGER) OVER (PARTITION BY run_id, finding), 0)
        END AS suspicion,
        CASE WHEN is_positive THEN 1 - score ELSE score END AS extremity
    FROM scored
)
SELECT
    run_id,
    finding,
    row_number() OVER (
        PARTITION BY run_id, finding ORDER BY suspicion DESC, extremity DESC, image_id
    ) AS rank,
    CASE WHEN is_positive THEN 'low-scoring positive' ELSE 'high-scoring negative' END AS kind,
    row_number() OVER (
        PARTITION BY run_id, finding, is_positive ORDER BY suspicion DESC, extremity DESC, image_id
    ) AS kind_rank,
    image_id,
    label,
    score,
    suspicion,
    reason,
    visibility_tier,
    is_conflict
FROM placed
WHERE suspicion > 0
ORDER BY run_id, finding, rank
