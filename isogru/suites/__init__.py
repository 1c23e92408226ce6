"""Other people's tests of GRUs, rebuilt from their published sizes, kinds of weights and tolerances: which mutants they
accept. `suites.toml` has the facts.
"""
