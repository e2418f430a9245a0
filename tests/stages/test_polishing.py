import numpy as np

from emodir_tui.stages.polishing import nearest_members
from emodir_tui.stages.whole import Members


def front(name, rows):
    keeps = np.array([[digit == "1" for digit in row] for row in rows])
    return Members(name=name, keeps=keeps, local_impairments=np.zeros(len(rows)))


def test_a_scheme_of_members_is_its_own_and_a_changed_one_tells_how_many_genes_differ():
    members = [front("sn1", ["001111", "011111", "111111"]), front("sn2", ["111001", "111101", "111111"])]
    schemes = np.array([[digit == "1" for digit in row] for row in ("011101", "001001", "101110", "111111")])
    positions, changed = nearest_members(members, schemes)
    assert positions[[0, 1, 3]].tolist() == [[1, 1], [0, 0], [2, 2]]
    assert changed.tolist() == [0, 0, 2, 0]
