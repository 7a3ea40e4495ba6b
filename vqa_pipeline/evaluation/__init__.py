"""Evaluation: pure arithmetic over predictions and references. No files, no clock, no torch, no Dagster."""
