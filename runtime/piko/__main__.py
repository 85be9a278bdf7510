"""`python -m piko`: the command where no script of it is on PATH."""

from piko.cli import main

main()
