"""What a person can ask `kmodlab` beside running it: one file a command, and what commands share. Its door is `kmodlab.cli`."""
