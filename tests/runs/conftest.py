import pytest

from emodir_tui.runs.directory import create


@pytest.fixture
def directory(tmp_path):
    """A run that nobody has begun."""
    made = create(tmp_path, "test")
    made.profile_file.write_text("")
    return made
