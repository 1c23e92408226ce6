"""The cells in PyTorch."""
