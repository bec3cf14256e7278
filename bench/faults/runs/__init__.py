"""The runs. Each takes a seed, its length in seconds and whether it is to be short, and
returns a `Record`."""
