"""What is asked for, as data: the catalog, the kernels, the boards, their wiring. No process is started here.

Imports the ground and the results' words. Its doors: `catalog.load_catalog`, `kernels.load_inventory` and `boards.load_boards`.
"""
