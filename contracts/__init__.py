"""The health applications: deterministic functions over state, one file per application."""
