"""The cells in JAX."""
