import json
from types import SimpleNamespace

import pytest

from emodir_tui.reports import doctor


@pytest.mark.parametrize(
    ("reported", "driver", "level", "words"),
    [
        ((1, "NVIDIA H100", ""), True, "ok", "1 × NVIDIA H100"),
        (
            (2, "Tesla K80", "no kernel image"),
            True,
            "error",
            "2 × Tesla K80, but torch cannot compute there: no kernel",
        ),
        ((0, "", ""), True, "error", "torch cannot use a GPU"),
        ((0, "", ""), False, "warning", "none"),
    ],
)
def test_a_driver_that_torch_cannot_use_is_no_missing_gpu(monkeypatch, reported, driver, level, words):
    answer = json.dumps({"version": "2.14.1", **dict(zip(("gpus", "name", "trouble"), reported, strict=True))})
    # A library may print something of its own before.
    done = SimpleNamespace(returncode=0, stdout=f"some library's greeting\n{answer}\n", stderr="")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: done)
    monkeypatch.setattr(doctor, "has_nvidia_driver", lambda: driver)
    gpus = doctor._torch()[-1]
    assert gpus.level == level
    assert words in gpus.found
