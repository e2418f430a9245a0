import pytest

from emodir_tui.reports.tables import _omitted

COLUMNS = ["Network", "MACs", "Accuracy", "ms"]
ROWS = [["original", "3.3 M", "98.00 %", "9.1"], ["a-long-name", "1.2 M", "97.00 %", "11.25"]]


@pytest.mark.parametrize(
    ("width", "out"),
    [(80, []), (35, []), (34, ["ms"]), (28, ["ms"]), (27, ["ms", "MACs"]), (3, ["ms", "MACs"])],
)
def test_as_few_columns_are_omitted_as_a_narrow_terminal_needs(width, out):
    assert _omitted(COLUMNS, ROWS, ["ms", "MACs"], width) == out
