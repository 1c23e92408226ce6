"""The cells in MXNet."""

import warnings

with warnings.catch_warnings():
    # MXNet 1.9.1 looks up names that NumPy 1.20 deprecated (bool, mirr, ...), once, while it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    import mxnet  # noqa: F401
