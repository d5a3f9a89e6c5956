"""Floor 2: what a result is, and showing it."""
