"""Nothing is computed over all steps at once here: that lane is JAX' alone, whose associative scan it is made of."""

COMPILED = False
PARALLEL = {}
