"""docs/dashboard.md has the table of keys, every state and existing pictures."""

from pathlib import Path

from emodir_tui.tui.control.keymap import COMMANDS
from emodir_tui.tui.drawing.palette import STATUS_GLYPHS, STATUS_WORDS
from tools.key_table import key_table

PAGE = (Path(__file__).parents[2] / "docs" / "dashboard.md").read_text()


def test_the_page_has_the_table_of_keys():
    assert key_table() in PAGE, "put the output of tools/key_table.py between the marks in docs/dashboard.md"


def test_the_page_names_every_state():
    for word, glyph in STATUS_GLYPHS.items():
        assert f"| {glyph} {STATUS_WORDS.get(word, word)} |" in PAGE, word


def test_every_command_has_words_and_no_two_of_a_screen_share_a_key():
    assert len({command.id for command in COMMANDS}) == len(COMMANDS)
    for command in COMMANDS:
        assert command.help
        assert command.label
        assert command.screens
        assert command.keys or command.id == "stop-now"
    for screen in {screen for command in COMMANDS for screen in command.screens}:
        keys = [key for command in COMMANDS if screen in command.screens for key in command.keys]
        assert len(keys) == len(set(keys)), screen


def test_the_pictures_are_there():
    for line in PAGE.splitlines():
        if line.startswith("!["):
            assert (Path(__file__).parents[2] / "docs" / line.partition("(")[2].rstrip(")")).is_file()
