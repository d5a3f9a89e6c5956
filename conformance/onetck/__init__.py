"""Floor 3: judging, and the command line."""
