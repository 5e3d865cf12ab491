"""What is sent to a target and runs there, with nothing but Python's standard library (3.9): imports nothing of kmodlab."""
