"""From predictions to AUROC, FROC and the report."""
