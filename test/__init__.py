"""The tests. Run them with ``nosetests`` or ``pytest`` from the folder above."""
