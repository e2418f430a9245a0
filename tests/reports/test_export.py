import pytest

from emodir_tui.reports.export import _is_export
from emodir_tui.reports.verify import _own_profile
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.state import Pick


def pick_in(name):
    return Pick(name="knee", scheme=0, rule="knee", complexity_kept=0.5, file=name)


@pytest.mark.parametrize("file", ["export/loop.safetensors", "../outside.safetensors", "export/away.safetensors", None])
def test_only_a_file_in_the_export_folder_is_one(tmp_path, file):
    directory = RunDirectory(tmp_path / "run")
    directory.export_folder.mkdir(parents=True)
    outside, loop = tmp_path / "outside.safetensors", directory.export_file("loop")
    outside.write_text("")
    directory.export_file("away").symlink_to(outside)
    loop.symlink_to(loop)
    directory.export_file("knee").write_text("")
    assert not _is_export(directory, pick_in(file))
    assert _is_export(directory, pick_in("export/knee.safetensors"))
    assert _own_profile(loop) is None
