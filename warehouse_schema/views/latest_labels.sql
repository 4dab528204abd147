-- One image and finding with its current label, why, and where it stands in the cohort.
SELECT
    l.image_id,
    i.patient_id,
    l.finding,
    l.label,
    l.reason,
    l.acuity,
    l.visibility_tier,
    l.score,
    l.is_conflict,
    c.subset,
    i.study_year
FROM image_labels AS l
JOIN images AS i USING (image_id)
LEFT JOIN cohort AS c ON c.image_id = l.image_id AND c.fold = 0
