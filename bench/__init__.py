"""Measurements of WorQ beside other libraries; no part of the package that is installed."""
