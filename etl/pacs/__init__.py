"""Films out of a hospital's PACS: ask, choose, fetch, verify, hand to ingest."""
