"""What a run does, in its order, for the lab's own machines and for boards; how it is planned, and what it costs.

Imports the worker. The doors are `planning.plan` and `work.run_stage`.
"""
