"""`make demo`: the product at work on real text, on a real cluster, for a person to watch."""
