"""Results for people: the terminal, progress while it lasts, the web page.

Imports the results and nothing else. The doors are `terminal.show` and `progress.Progress`.
"""
