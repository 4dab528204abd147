-- One step of the attrition from all instances to the cohort, in order.
SELECT step_number, step, reason, n_kept, n_dropped
FROM cohort_flow
ORDER BY step_number, reason
