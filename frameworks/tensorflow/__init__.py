"""The cells in TensorFlow."""
