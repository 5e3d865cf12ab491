"""One run: its order, what it works with, and how modules get onto a target. Each stage opens it anew from the run folder.

Imports all of the above. The door is `lab.Lab`.
"""
