"""`python -m maskrt`: the same as the `maskrt` command."""

from maskrt.cli import main

main()
