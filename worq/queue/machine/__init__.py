"""The life of a task in Python: states, edges, leases, what is due. It knows no storage."""
