"""Driver programs (MADs): the lines that oned exchanges with them, a program of our own, and the programs that a user brings."""
