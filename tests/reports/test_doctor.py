from types import SimpleNamespace

import pytest

from emodir_tui.reports import doctor


@pytest.mark.parametrize(
    ("told", "driver", "level", "words"),
    [
        ("2.14.1 1 NVIDIA H100", True, "ok", "1 × NVIDIA H100"),
        ("2.14.1 0 ", True, "error", "torch can't use a GPU"),
        ("2.14.1 0 ", False, "warning", "none"),
    ],
)
def test_a_driver_that_torch_cannot_use_is_no_missing_gpu(monkeypatch, told, driver, level, words):
    monkeypatch.setattr(
        doctor.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=0, stdout=told, stderr="")
    )
    monkeypatch.setattr(doctor, "has_nvidia_driver", lambda: driver)
    gpus = doctor._torch()[-1]
    assert gpus.level == level
    assert words in gpus.found
