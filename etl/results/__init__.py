"""Results of a run on single films: pictures and DICOM objects for the PACS."""
