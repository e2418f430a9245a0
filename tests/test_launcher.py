"""`./emodir` and its environment, with a Python and a pip that only write down how they were called."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYTHON = """#!/bin/sh
case "$*" in
    *version_info*) exit ${OLD:-0} ;;
    *ensurepip*) exit ${WITHOUT_VENV:-0} ;;
    --version) echo "Python 3.99" ;;
    "-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip --version") ;;
    "-m pip install"*)
        echo "$*" >>"$CALLS"
        [ -z "${BROKEN:-}" ] || exit 1
        for command in emodir ruff mypy lint-imports pytest; do
            printf '#!/bin/sh\\necho "$0" "$@"\\n' >"$(dirname "$0")/$command"
            chmod +x "$(dirname "$0")/$command"
        done ;;
esac
"""


class Clone:
    def __init__(self, folder):
        self.folder, self.calls, self.commands = folder / "clone", folder / "calls", folder / "commands"
        for name in ("emodir", "tools/environment.sh", "pyproject.toml"):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.folder / name)
        self.commands.mkdir()
        for name in ("python3", "python3.14", "python3.13", "python3.12", "python3.11"):
            (self.commands / name).write_text(PYTHON)
            (self.commands / name).chmod(0o755)

    def __call__(self, *arguments, **environment):
        path = f"{self.commands}{os.pathsep}/usr/bin{os.pathsep}/bin"
        environment = {"PATH": path, "CALLS": str(self.calls), **environment}
        command = [str(self.folder / "emodir"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def installed(self):
        """The installations since the last call of this, as pip was asked for them."""
        calls = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return [call.split("--disable-pip-version-check ")[1] for call in calls]


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path)


def test_the_first_call_makes_an_environment_and_the_next_starts_at_once(clone):
    first = clone("run", "digits")
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"{clone.folder}/.venv/bin/emodir run digits\n"
    assert "6 GB on disk" in first.stderr
    assert clone.installed() == [f"--editable {clone.folder}"]
    second = clone("runs")
    assert (second.stdout, second.stderr) == (f"{clone.folder}/.venv/bin/emodir runs\n", "")
    assert clone.installed() == []


def test_a_changed_project_is_installed_again_and_what_was_interrupted_too(clone):
    assert clone(BROKEN="1").returncode == 1
    clone.installed()
    assert clone().returncode == 0
    assert len(clone.installed()) == 1
    with (clone.folder / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    failed = clone(BROKEN="1")
    assert failed.returncode == 1
    assert "the installation failed; start this command again" in failed.stderr
    assert len(clone.installed()) == 1
    assert clone().returncode == 0
    assert len(clone.installed()) == 1


def test_an_active_environment_is_used_and_one_made_by_hand_is_left_as_it_is(clone, tmp_path):
    subprocess.run([str(clone.commands / "python3"), "-m", "venv", str(tmp_path / "mine")], check=True)
    assert clone(VIRTUAL_ENV=str(tmp_path / "mine")).stdout == f"{tmp_path}/mine/bin/emodir\n"
    assert len(clone.installed()) == 1
    assert not (clone.folder / ".venv").exists()
    for stamp in (tmp_path / "mine").glob(".emodir-*"):
        stamp.unlink()
    assert clone(VIRTUAL_ENV=str(tmp_path / "mine")).returncode == 0
    assert clone.installed() == []


def test_wheels_of_torch_for_machines_without_a_gpu_come_from_its_own_index(clone):
    assert clone(EMODIR_TORCH="cpu").returncode == 0
    index = "--index-url https://download.pytorch.org/whl/cpu torch torchvision"
    assert clone.installed() == [index, f"--editable {clone.folder}"]


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"OLD": "1"}, "error: emodir needs Python 3.11 or newer; python3 is Python 3.99\n"),
        (
            {"WITHOUT_VENV": "1"},
            "error: python3 has no venv module; on Debian and Ubuntu: sudo apt install python3-venv\n",
        ),
    ],
)
def test_a_python_that_cannot_make_an_environment_gets_one_sentence(clone, environment, sentence):
    result = clone(**environment)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", sentence)
    assert not (clone.folder / ".venv").exists()
