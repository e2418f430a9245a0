"""`python -m emodir_tui`: the same as the command `emodir`."""

from emodir_tui.cli import main

main()
