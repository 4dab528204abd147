-- One evaluated run and finding, with its primary AUROC, average precision and FROC score side by side.
SELECT
    r.method,
    r.recipe,
    e.run_id,
    e.finding,
    max(e.value) FILTER (e.metric = 'auroc') AS auroc,
    max(e.ci_low) FILTER (e.metric = 'auroc') AS auroc_ci_low,
    max(e.ci_high) FILTER (e.metric = 'auroc') AS auroc_ci_high,
    max(e.value) FILTER (e.metric = 'average_precision') AS average_precision,
    max(e.ci_low) FILTER (e.metric = 'average_precision') AS average_precision_ci_low,
    max(e.ci_high) FILTER (e.metric = 'average_precision') AS average_precision_ci_high,
    max(e.value) FILTER (e.metric = 'froc_score') AS froc_score,
    max(e.ci_low) FILTER (e.metric = 'froc_score') AS froc_score_ci_low,
    max(e.ci_high) FILTER (e.metric = 'froc_score') AS froc_score_ci_high
FROM evaluation_reports AS e
JOIN training_runs AS r USING (run_id)
WHERE e.protocol LIKE 'test/%/whole/student'
  AND ((e.metric IN ('auroc', 'average_precision') AND e.protocol LIKE 'test/all/%')
       OR (e.metric = 'froc_score' AND e.protocol LIKE 'test/R+N/%'))
GROUP BY ALL
ORDER BY e.finding, auroc DESC
