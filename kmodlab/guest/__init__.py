"""The system that runs on a target, from outside: a shell on it, its log, its memory, its GPIO lines.

Imports the judge and the plan. What runs on the other side stands apart, in `agents`. The door is `shell.Guest`.
"""
