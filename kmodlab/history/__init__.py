"""What became of every cell, night after night: rows in a folder, what they mean together, and whom to tell.

`row` and `series` keep it, `states` and `known` judge it, `tonight` says what is new, `site` shows it, the others tell it.
"""
