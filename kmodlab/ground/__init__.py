"""What every room stands on: errors with one line to read, files and caches, programs, and the sandbox.

Imports nothing of the other rooms. Other people's code is run by `sandbox.run` and nowhere else.
"""
