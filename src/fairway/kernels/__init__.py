"""The small set of operations a decoder needs: recorded once as a program, replayed every step."""
