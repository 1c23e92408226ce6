"""What is read by people: verdicts, and the report made of them. Imports no framework."""
