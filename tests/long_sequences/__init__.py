"""How many iterations long sequences take in parallel, and how much time beside the loop."""
