"""Readers' boxes: import, consensus, agreement, and the sample to annotate."""
