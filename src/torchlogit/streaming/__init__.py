"""Learning in one pass: every row is predicted, learned from once, and forgotten."""
