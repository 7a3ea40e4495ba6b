"""Fixtures of the command line's tests."""

from __future__ import annotations

from cli_world import call, project

__all__ = ["call", "project"]
