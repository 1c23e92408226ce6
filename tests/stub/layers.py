"""NumPy has no recurrent layers."""

COMPILED = False
LAYERS = {}
