"""The four wire formats and the way between any two of them: pure functions over JSON and bytes, no I/O."""
