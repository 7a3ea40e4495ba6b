"""Answers: how they are normalized, scored and numbered; the one home for training targets and metrics alike."""
