"""Nothing is computed over all steps at once."""

COMPILED = False
PARALLEL = {}
