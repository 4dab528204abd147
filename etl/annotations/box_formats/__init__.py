"""Readers of annotation files, each into the same source boxes."""
