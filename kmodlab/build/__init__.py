"""A folder of other people's sources, what its rules build, and the building, all of it in the sandbox; and the lint of ours.

Imports what comes from Debian. The doors are `trees.copied`, `modules.discover` and `kbuild.build`.
"""
