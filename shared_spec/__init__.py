"""What a GRU is: equations, the oracle, the language model and the cases. Imports no framework."""
