"""DICOM films: headers, selection, pixels, and the cache."""
