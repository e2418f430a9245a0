import math

import pytest

from emodir_tui import formatting
from emodir_tui.formatting import locale_is_utf8

SPELLINGS = [
    ("percent", 0.85, "85.0 %"),
    ("percent", 1.0, "100.0 %"),
    ("points", 0.00321, "+0.32"),
    ("points", -0.012, "-1.20"),
    ("number", 0.43214, "0.4321"),
    ("number", 0.0, "0"),
    ("number", 1.23e-6, "1.2e-06"),
    ("number", 4321.6, "4322"),
    ("number", 2.5e7, "2.5e+07"),
    ("rate", 0.042, "0.04"),
    ("rate", 12.34, "12.3"),
    ("rate", 1234.5, "1234"),
    ("milliseconds", 9.166, "9.17 ms"),
    ("count", 0, "0"),
    ("count", 517, "517"),
    ("count", 1_629_000, "1.63M"),
    ("count", 999_600, "1.00M"),
    ("count", 41_200_000, "41.2M"),
    ("size", 512, "512 B"),
    ("size", 61_200_000, "61.2 MB"),
    ("size", 2e12, "2.00 TB"),
    ("duration", 12.4, "0:00:12"),
    ("duration", 8047, "2:14:07"),
    ("duration", 3 * 86400 + 8047, "3 d 02:14"),
    ("duration", -1.0, "0:00:00"),
    ("age", 59.0, "<1 min"),
    ("age", 61.0, "1 min"),
    ("age", 7300.0, "2 h"),
    ("age", 3 * 86400.0, "3 d"),
]


@pytest.mark.parametrize(("name", "value", "text"), SPELLINGS)
def test_a_value_has_one_spelling(name, value, text):
    assert getattr(formatting, name)(value) == text


@pytest.mark.parametrize("name", sorted({name for name, *_ in SPELLINGS}))
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_not_known_or_not_finite_is_a_dash(name, value):
    assert getattr(formatting, name)(value) == formatting.NOTHING


def test_a_clock_that_cannot_be_shown_is_no_error(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    formatting.time.tzset()
    assert formatting.clock(1_700_000_000.0) == "22:13:20"
    assert formatting.clock(1_700_000_000.0, date=True) == "2023-11-14 22:13:20"
    assert formatting.clock(1_700_000_000.0, seconds=False) == "22:13"
    assert formatting.clock(1e300) == "--:--"


@pytest.mark.parametrize(
    ("layers", "short"),
    [
        ((), "—"),
        (("stem",), "stem"),
        (("layer2.0.conv1", "layer2.1.conv2"), "layer2.0–1"),
        (("stem.conv", "layer1.0.conv1"), "stem–layer1"),
    ],
)
def test_layers_are_named_by_where_they_differ(layers, short):
    assert formatting.layer_range(layers) == short


def test_text_from_outside_is_one_printable_line_of_bounded_length():
    assert formatting.literal("a\x1b[31mb\nc") == "a␛[31mb␊c"
    assert formatting.literal("x" * 3000) == "x" * 1999 + "…"
    assert formatting.literal_lines("a\nb\x07") == "a\nb␇"
    assert formatting.plural(1, "run") == "1 run"
    assert formatting.plural(2, "run") == "2 runs"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"LC_ALL": "C"}, False),
        ({"LANG": "POSIX"}, False),
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, False),
        ({"LANG": "de_DE.ISO-8859-1"}, False),
        ({"LANG": "en_US.UTF-8"}, True),
        ({"LC_CTYPE": "C.utf8", "LANG": "C"}, True),
    ],
)
def test_the_locale_says_what_a_terminal_shows_and_not_python_which_takes_utf8_for_c(monkeypatch, variables, expected):
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert locale_is_utf8() is expected
