"""What the control plane promises, proven by trials: the operator is killed, cut off and lied to at every point."""
