import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emodir_tui.errors import ProfileError
from emodir_tui.profile import dump, keys, load, parse_rule, validate

PROFILES = sorted((Path(__file__).parent.parent / "profiles").glob("*.toml"))


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_shipped_profile_is_valid_and_survives_being_written_out(path):
    profile = load(path)
    assert validate(tomllib.loads(dump(profile)), "again") == profile


@pytest.mark.parametrize(
    ("text", "sentence", "hint"),
    [
        ("[search]\npopulaton = 8", "unknown key 'search.populaton'", "search.population"),
        ("[serach]\npopulation = 8", "unknown key 'serach'", "search"),
        ("[search]\npopulation = 7", "search.population must be an even number of at least 4, not 7", ""),
        ("[search]\npopulation = '8'", "search.population must be a valid integer, not '8'", ""),
        (
            "[search]\nimpairment = 'feature'",
            "search.impairment must be 'features', 'detector' or 'downstream', not 'feature'",
            "features",
        ),
        ("[pick]\nrules = ['kne']", "unknown rule 'kne'", ""),
        ("[pick]\nrules = ['max_macs=2']", "the limit of rule 'max_macs=2' must be between 0 and 1", ""),
        ("[search]\nimages = 6000", "search.images must be at most data.search_images (5000), not 6000", ""),
        ("device = 'gpu'", "device must be 'auto', 'cpu', 'cuda' or 'cuda:N', not 'gpu'", ""),
        ("x = [", "is not valid TOML", ""),
        ("[data]\nmean = [0.1, 0.2]", "data.mean: must have one value per channel", ""),
    ],
)
def test_what_cannot_be_used_is_refused_with_file_key_reason_and_nearest_name(tmp_path, text, sentence, hint):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ProfileError) as caught:
        load(path)
    assert str(path) in caught.value.message
    assert sentence in caught.value.message
    assert hint in caught.value.hint


def test_overrides_are_toml_values_or_plain_text(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text("")
    profile = load(path, ["search.population=8", "data.source=folder:/x", "divide.cuts=['a','b']", "name=n"])
    assert profile.search.population == 8
    assert profile.data.source == "folder:/x"
    assert profile.divide.cuts == ["a", "b"]
    assert profile.name == "n"


@pytest.mark.parametrize("override", ["search.populaton=8", "nothing", "=3", "search=4"])
def test_overrides_that_name_no_key_are_refused(tmp_path, override):
    path = tmp_path / "p.toml"
    path.write_text("")
    with pytest.raises(ProfileError, match="--set"):
        load(path, [override])


@settings(max_examples=300)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_file_however_wrong_raises_anything_but_a_sentence(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("p") / "fuzz.toml"
    path.write_bytes(content)
    try:
        load(path)
    except ProfileError as error:
        assert "fuzz.toml" in error.message


@settings(max_examples=200)
@given(key=st.sampled_from([row[0] for row in keys()]), value=st.text(max_size=30))
def test_no_override_however_wrong_raises_anything_but_a_sentence(tmp_path_factory, key, value):
    path = tmp_path_factory.mktemp("p") / "p.toml"
    path.write_text("")
    try:
        load(path, [f"{key}={value}"])
    except ProfileError:
        pass


def test_every_key_has_a_description():
    assert [key for key, _, _, description in keys() if not description] == []


def test_pick_rules_can_be_given_as_one_text():
    assert load(Path("profiles/digits.toml"), ["pick.rules=knee, max_macs=0.4"]).pick.rules == ["knee", "max_macs=0.4"]
    assert load(Path("profiles/digits.toml"), ["pick.rules=knee"]).pick.rules == ["knee"]


def test_pick_rules_are_names_with_limits():
    assert parse_rule("knee") == ("knee", 0.0)
    assert parse_rule("max_macs=0.5") == ("max_macs", 0.5)


def test_the_page_of_all_keys_is_up_to_date():
    from tools.profile_page import page

    written = Path(__file__).parent.parent / "docs" / "profile.md"
    assert written.read_text() == page(), "run: python tools/profile_page.py"
