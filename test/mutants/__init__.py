"""Mutants: small wrong changes of WorQ, each of which some test should notice."""
