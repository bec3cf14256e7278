"""WorQ, an embeddable task queue."""
