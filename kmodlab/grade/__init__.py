"""Assignments: given out, handed in, and graded. A submission is a cell on machines of its own.

The doors are `grading.grade` (all submissions of a folder), `checking.check` (an assignment itself) and `skeleton.hand_out`.
"""
