"""Metrics with intervals, comparisons between runs and the report.

The modules ``froc``, ``auroc``, ``delong``, ``bootstrap`` and ``operating_points`` are pure
functions of numpy arrays and usable alone; ``evaluate``, ``comparison`` and ``report`` read and
write the warehouse.
"""
