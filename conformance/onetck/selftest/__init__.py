"""The proof that the checks catch: mutants of the reference driver, made mechanically, and what the suite says of each."""
