"""Mutants planted where each framework computes: its own step, loop, weights and training, and what comes of them."""
