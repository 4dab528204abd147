"""Metrics with intervals, comparisons between runs and the report.

The modules ``froc``, ``lesion_froc``, ``auroc``, ``delong``, ``bootstrap``, ``permutation``,
``calibration`` and ``operating_points`` are pure functions of numpy arrays and usable alone;
``evaluate``, ``comparison``, ``folds`` and ``report`` read and write the warehouse.
"""
