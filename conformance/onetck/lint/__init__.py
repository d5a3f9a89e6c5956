"""Reads a driver without running its actions: what is wrong can be told from the files alone. The rules are rows of `spec/static.toml`."""
