"""What is read by people: verdicts, and the report made of them. Imports no framework."""

from shared_spec import processes

processes.begin("reports")
