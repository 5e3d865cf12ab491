"""What became of every cell: the contract `results.json`, the run folder it is made from, its events, junit.xml.

Imports the ground. The doors are `contract` (the words: Verdict, Stage, Check, Cell) and `folder.Run`.
"""
