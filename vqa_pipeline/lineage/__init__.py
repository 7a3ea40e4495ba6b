"""What came of what, told by manifests and published files alone: no Dagster, no torch; nothing is published."""
