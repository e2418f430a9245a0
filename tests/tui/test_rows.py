"""The cursor of a table while rows are added."""

import pytest
from textual.app import App

from emodir_tui.tui.drawing.palette import palette_of
from emodir_tui.tui.widgets.rows import Column, Rows


class Table(App[None]):
    def __init__(self, **flags):
        super().__init__()
        self.rows = Rows([Column(key="name", label="name", width=8)], name="table", **flags)

    def compose(self):
        yield self.rows


@pytest.mark.parametrize(("flags", "then"), [({}, "b"), ({"newest_first": True}, "c")], ids=["by key", "newest first"])
async def test_a_cursor_on_the_first_row_keeps_its_key_or_its_place(flags, then):
    app = Table(**flags)
    async with app.run_test(size=(40, 10)):
        palette = palette_of(ansi=False, dark=True)
        app.rows.show(["b", "a"], lambda key: (key,), palette)
        app.rows.show(["c", "b", "a"], lambda key: (key,), palette)
        assert app.rows.key == then


async def test_a_row_has_one_cell_per_column_or_none_if_it_has_vanished():
    app = Table()
    async with app.run_test(size=(40, 10)):
        palette = palette_of(ansi=False, dark=True)
        app.rows.show(["a"], lambda key: (), palette)
        assert app.rows.render_line(1).text.strip() == ""
        app.rows.show(["a"], lambda key: (key,), palette)
        with pytest.raises(ValueError, match="argument 2 is longer"):
            app.rows.show(["a"], lambda key: (key, "more"), palette)
        app.rows.show(["a"], lambda key: (key,), palette)


async def test_a_cursor_that_was_moved_keeps_its_key():
    app = Table(newest_first=True)
    async with app.run_test(size=(40, 10)) as pilot:
        palette = palette_of(ansi=False, dark=True)
        app.rows.show(["b", "a"], lambda key: (key,), palette)
        await pilot.press("down")
        app.rows.show(["c", "b", "a"], lambda key: (key,), palette)
        assert app.rows.key == "a"
