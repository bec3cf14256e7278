"""The command line: ``worq``. A surface, which sees all else and is seen by nothing."""
