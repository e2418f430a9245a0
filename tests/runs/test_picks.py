import pytest

from emodir_tui.errors import ConflictError
from emodir_tui.runs.picks import add_pick, extra_pick_recorded, extra_picks


def test_a_scheme_stays_noted_where_the_worker_starts(directory):
    with extra_pick_recorded(directory, 3):
        assert extra_picks(directory) == [3]
    assert extra_picks(directory) == [3]


@pytest.mark.parametrize(("before", "after"), [([], []), ([3], [3]), ([5], [5])])
def test_a_start_that_fails_takes_back_what_it_noted_and_nothing_of_others(directory, before, after):
    for scheme in before:
        add_pick(directory, scheme)
    with pytest.raises(ConflictError, match="already running"), extra_pick_recorded(directory, 3):
        raise ConflictError("already running")
    assert extra_picks(directory) == after
