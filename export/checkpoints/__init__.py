"""Checkpoint readers, one a format. None of them executes what it reads."""
