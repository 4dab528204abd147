"""Opt-outs, erasure, and de-identified exports."""
