"""What the suite notices, measured: clean runs and deliberate defects."""
