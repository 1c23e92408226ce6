"""The cells in TensorFlow."""

# Before all else: what it puts into the environment is read while TensorFlow is imported.
from frameworks.tensorflow import runtime as runtime
