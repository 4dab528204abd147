"""The stages in sequence: command line, settings and Prefect flows."""
