"""A stub is in no race: products, functions and sums are missing."""
