"""Child processes and their manager: what the pools have in common whose workers are processes."""
