"""`python -m emodir_tui`: the command `emodir`."""

from emodir_tui.cli import main

main()
