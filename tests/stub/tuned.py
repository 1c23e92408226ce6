"""Nothing is tuned."""

COMPILED = False
TUNED = {}
