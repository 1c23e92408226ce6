"""The referee scored: mutants planted where right implementations compute, and which case kills each."""
