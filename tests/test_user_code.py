import pytest

from emodir_tui.errors import ProfileError
from emodir_tui.user_code import import_user_module, load_callable


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def f(:", r"SyntaxError: .*broken\.py, line 1\)"),
        ("import math\nx = unknown + 1", r"NameError: name 'unknown' is not defined \(.*broken\.py, line 2\)"),
        ("import sys\nsys.exit(3)", r"SystemExit: 3 \(.*broken\.py, line 2\)"),
        ("import no_such_library", r"cannot be imported \(No module named 'no_such_library'\)"),
    ],
)
def test_what_is_wrong_in_a_module_is_told_with_its_line(tmp_path, monkeypatch, code, words):
    (tmp_path / "broken.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ProfileError, match=words):
        import_user_module("model.source", "broken")


def test_a_module_may_have_a_name_that_no_import_statement_could_have(tmp_path, monkeypatch):
    (tmp_path / "my-net.py").write_text("width = 8")
    monkeypatch.syspath_prepend(tmp_path)
    assert import_user_module("model.source", "my-net").width == 8


@pytest.mark.parametrize(
    ("name", "right"),
    [("net.py", "net:"), ("./net", "net:"), ("models/net.py", "models.net:"), ("", "package.module:")],
)
def test_a_file_in_place_of_a_module_is_told_how_to_write_it(name, right):
    with pytest.raises(ProfileError, match="is not a valid module name") as caught:
        import_user_module("data.source", name)
    assert f"Write {right}FUNCTION" in caught.value.hint


def test_what_is_no_function_is_told_by_its_kind(tmp_path, monkeypatch):
    (tmp_path / "settings_only.py").write_text("width = 8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ProfileError, match=r"data\.source: 'width' of 'settings_only' is a int, not a function"):
        load_callable("data.source", "settings_only:width")
