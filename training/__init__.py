"""From cohort and pixels to trained detectors and their predictions."""
