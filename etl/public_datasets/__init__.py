"""Readers of published data sets, each into the same warehouse tables as a hospital."""
