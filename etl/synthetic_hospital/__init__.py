"""A hospital with a known truth: records, notes, chest films; each output is marked SYNTHETIC."""
