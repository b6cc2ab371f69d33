"""The rules: pure functions and values; clock and randomness are arguments."""
