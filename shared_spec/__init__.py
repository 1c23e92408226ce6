"""What a GRU is: equations, the oracle, the language model and the cases. Imports no framework."""

from shared_spec import processes

processes.begin("shared_spec")
