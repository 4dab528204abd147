"""A synthetic hospital: records, notes and chest films with a known truth, every output marked SYNTHETIC."""
