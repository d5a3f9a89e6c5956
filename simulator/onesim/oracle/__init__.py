"""Fidelity: recordings of the real oned read back, asked of the simulated one, and compared call by call."""
