"""The verifying worker: a pytest plugin, the target it watches, a module's life, many loads, and who is to blame.

Imports the run. The doors are `plugin` (pytest -p) and `retrial.settle`.
"""
