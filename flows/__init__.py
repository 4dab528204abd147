"""The stages in sequence: command line, settings and Prefect flows."""

import os

# Prefect reads these on import. Nothing leaves the hospital unless an operator asks for it.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
