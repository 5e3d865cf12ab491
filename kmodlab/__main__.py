"""`python -m kmodlab` is the command `kmodlab`."""

from kmodlab.cli import main

main()
