"""Recording an installed driver: what is put around its scripts on a front-end, and what is read from that."""
