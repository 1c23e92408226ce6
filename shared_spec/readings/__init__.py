"""The readings of the equations: one text, several meanings."""
