"""Films linked to encounters, and the cohort with its folds."""
