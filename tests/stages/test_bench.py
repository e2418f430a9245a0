from pathlib import Path

import pytest

from emodir_tui.profile import load
from emodir_tui.stages import bench as benches


@pytest.mark.parametrize(
    ("wanted", "native", "expected"), [("true", True, True), ("true", False, False), ("false", True, False)]
)
def test_trainings_are_mixed_only_where_asked_for_and_native(monkeypatch, wanted, native, expected):
    monkeypatch.setattr(benches, "has_fast_bfloat16", lambda device: native)
    settings = load(Path("profiles/digits.toml"), [f"hardware.mixed_precision={wanted}"])
    assert benches.open_bench(settings).mixed_precision is expected
