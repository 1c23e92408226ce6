"""Sweeps: many trainings, on this machine or on a cluster, each kept as soon as it is over."""
