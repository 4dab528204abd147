"""Hospital databases: site mappings, extraction, and what a night reads again."""
