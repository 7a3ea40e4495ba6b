"""Orchestration: the only room that knows Dagster. No example, tensor or arithmetic is touched here."""
