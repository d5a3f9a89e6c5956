"""Worlds: the hosts of one case, and the agent that owns everything in them."""
