import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import emodir_tui


def test_help_loads_neither_torch_numpy_pymoo_nor_textual():
    code = (
        "import sys; sys.argv = ['emodir', '--help']\n"
        "from emodir_tui.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pymoo', 'textual', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "Prune convolutional networks" in result.stdout


def test_without_a_command_the_help_is_printed_as_it_is():
    code = "import sys; sys.argv = ['emodir']\nfrom emodir_tui.cli import main\nmain()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("Usage: emodir")
    assert result.stderr.count("\n") > 20
    assert "␊" not in result.stderr


def test_the_version_is_printed(emodir):
    result = emodir("--version")
    assert result.returncode == 0
    assert result.stdout.startswith("emodir 0.")


def test_the_log_tells_each_stage_and_each_front_as_it_was_then(finished):
    emodir, run, _ = finished
    lines = emodir("logs", run, "-n", "1000").stdout.splitlines()
    reported = [line.split("  ", 1)[1] for line in lines]
    for stage in ("baseline", "search", "constrain", "joint", "finetune"):
        assert f"{stage} started" in reported
    searched, constrained = reported.index("search started"), reported.index("constrain started")
    first = next(line for line in reported[searched:] if line.startswith("sn1: front"))
    second = next(line for line in reported[constrained:] if line.startswith("sn1: front"))
    assert first.endswith("evaluations")
    assert second.endswith("with the trained weights")
    assert first.split("hypervolume ")[1].split(",")[0] != second.split("hypervolume ")[1].split(",")[0]
    assert emodir("logs", run, "-n", "2").stdout.splitlines() == lines[-2:]
    # Who follows later, or from the foreground, gets the same lines.
    watched = emodir("watch", run, "--no-tui").stderr.splitlines()
    assert [line for line in reported if line.startswith("sn")] == [
        line.split("  ", 1)[1] for line in watched if "  sn" in line
    ]


def test_runs_and_show_load_no_torch(finished):
    emodir, run, _ = finished
    code = (
        f"import sys; sys.argv = ['emodir', 'show', '{run}']\n"
        "from emodir_tui.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'numpy', 'pymoo', 'textual'} & set(sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=emodir.environment, check=False
    )
    assert result.returncode == 0, result.stderr


def test_a_run_ends_with_a_table_of_the_original_against_each_pick(finished):
    _, _, result = finished
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert rows[0][:3] == ["network", "macs", "macs kept"]
    assert [row[0] for row in rows[1:]] == ["original", "knee", "max_macs-0.5"]
    assert float(rows[3][2].split()[0]) <= 50.0


def test_show_has_all_that_other_programs_rely_on(finished):
    emodir, run, _ = finished
    view = json.loads(emodir("show", run, "--json").stdout)
    assert view["schema"] == 1
    assert (view["id"], view["state"], view["stage"]) == (run, "finished", "finetune")
    assert set(view["baseline"]) >= {"accuracy", "macs", "params"}
    for part in view["subnetworks"]:
        assert set(part) == {
            "name", "layers", "channels", "macs", "generation", "generations", "hypervolume",
            "hypervolume_trained", "front_size",
            "evaluations", "evaluations_per_second",
        }  # fmt: skip
    assert view["ranking_size"] > 0
    assert view["joint"]["size"] > 0
    for pick in view["picks"]:
        assert set(pick) >= {
            "name", "macs_kept", "params_kept", "accuracy_recalibrated", "accuracy", "removal_max_difference",
            "latency_ms", "baseline_latency_ms", "file",
        }  # fmt: skip
        assert 0 < pick["macs_kept"] <= 1
        assert pick["removal_max_difference"] < 1e-4
    assert view["checkpoints"]


def test_the_ranking_is_in_order_and_marks_what_the_joint_schemes_use(finished):
    emodir, run, _ = finished
    ranking = json.loads(emodir("ranking", run, "--json").stdout)
    rows = ranking["rows"]
    assert ranking["complexity"] == "macs"
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["level"] for row in rows] == sorted(row["level"] for row in rows)
    assert any(row["joint_uses"] for row in rows)
    assert set(rows[0]) == {
        "rank", "level", "subnetwork", "member", "complexity_kept", "local_impairment", "global_impairment", "price",
        "accuracy_change", "joint_uses",
    }  # fmt: skip


def test_the_columns_of_the_ranking_explain_its_order(finished):
    emodir, run, _ = finished
    rows = json.loads(emodir("ranking", run, "--json").stdout)["rows"]
    places = [(row["level"], math.inf if row["price"] is None else row["price"]) for row in rows]
    assert places == sorted(places)
    table = emodir("ranking", run)
    header, *lines = table.stdout.splitlines()
    assert header.split("\t")[:3] == ["rank", "level", "price"]
    assert len(lines) == len(rows)
    assert "by level, then by price: global impairment per share of MACs saved" in table.stderr


def test_the_hypervolume_never_falls(finished):
    emodir, run, _ = finished
    series = {}
    for line in emodir("events", run).stdout.splitlines():
        event = json.loads(line)
        if event["kind"] == "search_generation":
            series.setdefault((event["subnetwork"], event["round"]), []).append(event["hypervolume"])
    assert series
    assert all(values == sorted(values) for values in series.values())


def test_runs_lists_the_run_with_its_best_pick(finished):
    emodir, run, _ = finished
    (row,) = json.loads(emodir("runs", "--json").stdout)["runs"]
    assert (row["id"], row["name"], row["state"]) == (run, "tiny", "finished")
    assert row["best_pick"]["accuracy"] is not None


def test_a_pruned_file_loads_in_a_fresh_process_with_the_accuracy_it_says(finished):
    emodir, run, _ = finished
    path = emodir.folder / "runs" / run / "export" / "max_macs-0.5.safetensors"
    model = emodir_tui.load(path)
    from emodir_tui.bench import open_bench
    from emodir_tui.nets.export.pruned_file import read_pruned
    from emodir_tui.profile import load
    from emodir_tui.training.metrics import accuracy

    bench = open_bench(load(emodir.profile))
    assert accuracy(model, bench.data.test, 500) == pytest.approx(read_pruned(path)[0].details["accuracy"], abs=0.011)
    assert sum(weight.numel() for weight in model.parameters()) == read_pruned(path)[0].details["params"]


def test_tensorboard_has_scalars_of_every_search_and_training(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    emodir, run, _ = finished
    accumulator = EventAccumulator(str(emodir.folder / "runs" / run / "tensorboard"))
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    for tag in (
        "search/sn1/hypervolume",
        "search/sn1/front_size",
        "search/sn1/evaluations_per_second",
        "joint/hypervolume",
        "finetune/knee/loss",
        "baseline/accuracy",
    ):
        assert tag in tags


def test_the_same_profile_and_seed_give_the_same_bytes_in_the_foreground_too(finished):
    emodir, run, _ = finished
    result = emodir.process("run", "tiny.toml", "--foreground", "--name", "again", "--runs-dir", "others")
    assert result.returncode == 0, result.stderr
    (second,) = (emodir.folder / "others").iterdir()
    first = emodir.folder / "runs" / run
    names = sorted(path.name for path in (first / "fronts").iterdir())
    assert names == sorted(path.name for path in (second / "fronts").iterdir())
    assert len(names) >= 5
    for name in names:
        assert (first / "fronts" / name).read_bytes() == (second / "fronts" / name).read_bytes(), name
    # What a run in the foreground prints is what its log and whoever watches it later print.
    assert "joint front of" in result.stderr
    there = ("@latest", "--runs-dir", "others")
    logged = [line.split("  ", 1)[1] for line in emodir("logs", *there, "-n", "100").stdout.splitlines()]
    printed = [line.split("  ", 1)[1] for line in result.stderr.splitlines() if "  " in line]
    # The table says that the run has finished.
    assert [*printed, "the run has finished"] == logged
    assert result.stdout == emodir("watch", *there, "--no-tui").stdout
    assert "max_macs-0.5" in result.stdout
    assert emodir("resume", *there).returncode == 4


def test_another_seed_gives_other_fronts(finished, other):
    (emodir, run, _), (another, second) = finished, other
    first, second = (
        command.folder / "runs" / name / "fronts" / "joint.json" for command, name in ((emodir, run), (another, second))
    )
    assert first.read_bytes() != second.read_bytes()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_shared_run_can_be_read_by_others_and_any_other_run_cannot(finished, other):
    def unreadable(emodir, run):
        for folder in (emodir.folder, *emodir.folder.parents):
            if folder.stat().st_uid == os.getuid() and folder != Path("/"):
                folder.chmod(folder.stat().st_mode | 0o055)
        code = (
            "import os, sys, pathlib; os.setuid(12345)\n"
            "root = pathlib.Path(sys.argv[1])\n"
            "assert not os.access(root / 'control', os.W_OK)\n"
            "names = ['profile.toml', 'run.json', 'heartbeat', 'worker.log', 'events/0001.jsonl', 'fronts/joint.json']\n"
            "print(*[name for name in names if not os.access(root / name, os.R_OK)])"
        )
        command = [sys.executable, "-c", code, str(emodir.folder / "runs" / run)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert unreadable(*other) == []
    assert len(unreadable(*finished[:2])) == 6


def test_no_summary_of_a_command_is_cut_at_80_columns():
    from emodir_tui.cli import app

    summaries = [(command.callback.__doc__ or "").splitlines()[0] for command in app.registered_commands]
    assert [line for line in summaries if not 0 < len(line) <= 55] == []


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["rum"], 2, "Did you mean 'run'?"),
        (["run", "digts"], 3, "Did you mean 'digits'?"),
        (["run", "tiny.toml", "--set", "search.populaton=8"], 2, "Did you mean 'search.population'?"),
        (["run", "tiny.toml", "--set", "search.population=7"], 2, "even number"),
        (["run", "tiny.toml", "--name", "../x"], 2, "cannot be a run's name"),
        (["show", "nothing"], 3, "there are no runs"),
        (["stop", "nothing"], 3, "there are no runs"),
        (["run"], 2, "missing argument"),
        (["show", "--jsn"], 2, "no such option: --jsn"),
        (["qqqq"], 2, "unknown command 'qqqq'"),
        ([], 2, "Usage: "),
        (["verify", "nothing.safetensors"], 3, "there is no file nothing.safetensors"),
        (["check", "tiny.toml", "--set", "data.mean=[76.5]"], 2, "values must be between 0 and 1, not 76.5"),
        (["run", "tiny.toml", "--detach", "--foreground"], 2, "exclude each other"),
        (["check", "tiny.toml", "--set", "device=gpu"], 2, "device must be 'auto', 'cpu', 'cuda' or 'cuda:N'"),
        (["check", "tiny.toml", "--set", "data.std=0.3"], 2, "data.std must be a list"),
        (["check", "tiny.toml", "--set", "model=resnet20"], 2, "unknown key 'model'"),
    ],
)
def test_wrong_input_gets_one_sentence_and_its_exit_code(emodir, arguments, code, sentence):
    result = emodir(*arguments)
    assert result.returncode == code
    assert sentence in result.stderr
    assert result.stdout == ""
    assert not (emodir.folder / "runs").exists()


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("model.source=digits-resnt", "digits-resnet"),
        ("data.source=folder:/nowhere", "/nowhere/train"),
        ("model.weights=/nowhere.pt", "there is no file /nowhere.pt"),
        ("divide.cuts=['layer9']", "unknown cut point"),
        ("device=cuda:7", "CUDA devices"),
        ("pick.rules=max_macs=0.0001", "% of the MACs remain"),
    ],
)
def test_what_only_the_worker_can_know_ends_in_a_sentence_too(emodir, override, sentence):
    result = emodir("run", "tiny.toml", "--foreground", "--set", override)
    assert result.returncode == 2
    assert sentence in result.stderr
    assert not (emodir.folder / "runs").exists()


def test_what_a_detached_worker_finds_wrong_ends_in_a_sentence_and_an_exit_code_too(emodir):
    result = emodir.process("run", "tiny.toml", "--no-tui", "--set", "device=cuda:7")
    assert result.returncode == 2
    assert "CUDA devices" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (emodir.folder / "runs").exists()


def test_piped_tables_are_tab_separated_and_whole(finished):
    emodir, run, _ = finished
    lines = emodir("runs").stdout.splitlines()
    assert lines[1].split("\t")[0] == run


def test_nothing_in_a_run_is_a_pickle_or_a_zip_of_them(finished):
    emodir, run, _ = finished
    for path in (emodir.folder / "runs" / run).rglob("*"):
        if path.is_file() and "tensorboard" not in path.parts:
            content = path.read_bytes()
            assert not content.startswith((b"PK", b"\x80")), path
            assert b"cnumpy" not in content
            assert b"ctorch" not in content


def test_check_shows_division_protected_places_reach_and_estimates(emodir):
    result = emodir("check", "tiny.toml", "--json")
    assert result.returncode == 0, result.stderr
    view = json.loads(result.stdout)
    assert [part["name"] for part in view["subnetworks"]] == ["sn1", "sn2", "sn3"]
    assert sum(part["share"] for part in view["subnetworks"]) == pytest.approx(1.0)
    assert 0 < view["least_macs_kept"] < 0.1
    assert 0 < view["least_params_kept"] < 0.1
    assert (view["input_shape"], view["classes"], view["classes_seen"]) == ([1, 8, 8], 10, 10)
    assert view["rules_beyond_reach"] == {}
    assert set(view["estimated_seconds"]) == {
        "baseline",
        "divide",
        "search",
        "constrain",
        "rank",
        "joint",
        "realise",
        "finetune",
    }
    assert view["streams"]
    printed = emodir("check", "tiny.toml").stdout
    for part in view["subnetworks"]:
        assert f"\n{part['name']}\t" in printed
    for item in view["streams"]:
        assert item["name"] in printed
    wrong = emodir("check", "tiny.toml", "--set", "divide.cuts=['layer1.5']")
    assert wrong.returncode == 2
    assert "layer1.1" in wrong.stderr
    assert not (emodir.folder / "runs").exists()


@pytest.mark.parametrize("kind", ["state", "torch-export", "onnx"])
def test_a_pick_is_exported_once_and_written_over_only_if_forced(finished, kind, tmp_path):
    emodir, run, _ = finished
    target = tmp_path / "file"
    first = emodir("export", run, "--pick", "macs=0.5", "--format", kind, "-o", str(target))
    assert first.returncode == 0, first.stderr
    assert first.stdout.strip() == str(target)
    assert target.stat().st_size > 1000
    assert emodir("export", run, "--format", kind, "-o", str(target)).returncode == 4
    assert emodir("export", run, "--format", kind, "-o", str(target), "--force").returncode == 0


def test_a_folder_to_export_to_gets_a_file_of_the_usual_name(finished, tmp_path):
    emodir, run, _ = finished
    done = emodir("export", run, "--format", "state", "-o", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "knee-state.safetensors")


def test_exports_of_what_is_not_there_name_the_nearest(finished):
    emodir, run, _ = finished
    assert "Did you mean 'knee'?" in emodir("export", run, "--pick", "kne").stderr
    assert "Did you mean 'onnx'?" in emodir("export", run, "--format", "onx").stderr
    assert "The smallest keeps" in emodir("export", run, "--pick", "macs=0.000001").stderr


def test_verify_measures_again_and_tells_a_lie(finished, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    emodir, run, _ = finished
    path = emodir.folder / "runs" / run / "export" / "knee.safetensors"
    honest = emodir("verify", str(path))
    assert honest.returncode == 0, honest.stdout + honest.stderr
    with safe_open(str(path), "pt") as file:
        header = json.loads(file.metadata()["emodir"])
    elsewhere = tmp_path / "elsewhere.safetensors"
    elsewhere.write_bytes(path.read_bytes())
    partly = emodir("verify", str(elsewhere))
    assert partly.returncode == 0
    assert "not measured" in partly.stdout
    assert json.loads(emodir("verify", str(elsewhere), "--json").stdout)["agrees"] is None
    # What the network's inputs have to be is said by the file itself.
    assert header["details"]["mean"] == [0.3053]
    assert "(x - [0.3053]) / [0.376], with x between 0 and 1" in honest.stdout
    assert "Did you mean" in emodir("verify", str(elsewhere), "--profile", "digts").stderr
    assert emodir("verify", str(elsewhere), "--profile", "tin.toml").returncode == 3
    pixels = np.zeros((1200, 16, 16), dtype=np.uint8)
    labels = np.arange(1200) % 2
    np.savez(tmp_path / "others.npz", train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels)
    (tmp_path / "others.toml").write_text(
        f"""[model]\nsource = "digits-resnet"\n[data]\nsource = "npz:{tmp_path / "others.npz"}"\nsearch_images = 600\n"""
    )
    others = emodir("verify", str(elsewhere), "--profile", str(tmp_path / "others.toml"))
    assert others.returncode == 2
    assert "has 2 classes and images of shape [1, 16, 16]" in others.stderr
    header["details"]["macs"] += 1
    liar = tmp_path / "liar.safetensors"
    save_file(load_file(path), liar, metadata={"emodir": json.dumps(header)})
    result = emodir("verify", str(liar))
    assert result.returncode == 1
    assert "NO" in result.stdout
    save_file(load_file(path), liar)
    bare = emodir("verify", str(liar))
    assert bare.returncode == 2
    assert "has weights only" in bare.stderr


def test_running_statistics_are_those_of_the_weights_that_fine_tuning_left(finished):
    import torch

    from emodir_tui.bench import open_bench
    from emodir_tui.profile import load
    from emodir_tui.stages.support.recalibration import recalibrate_on_training_images

    emodir, run, _ = finished
    directory = emodir.folder / "runs" / run
    model = emodir_tui.load(directory / "export" / "knee.safetensors")
    before = {name: value.clone() for name, value in model.named_buffers()}
    recalibrate_on_training_images(open_bench(load(directory / "profile.toml")), model)
    assert any("running_var" in name for name in before)
    for name, value in model.named_buffers():
        torch.testing.assert_close(value, before[name], msg=name)


def test_who_stops_reading_is_no_error(finished):
    emodir, run, _ = finished
    command = f'{sys.executable} -c "from emodir_tui.cli import main; main()" events {run} | head -n 1; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", command], cwd=emodir.folder, env=emodir.environment, capture_output=True, text=True, check=False
    )
    first, code = done.stdout.splitlines()
    assert json.loads(first)["kind"] == "run_opened"
    assert (code, done.stderr) == ("0", "")


def test_one_more_scheme_of_a_finished_run_is_realised(finished, tmp_path):
    emodir, run, _ = finished
    shutil.copytree(emodir.folder / "runs" / run, tmp_path / run)
    there = ("--runs-dir", str(tmp_path))
    assert emodir("realise", run, *there).returncode == 2
    assert "schemes 0 to" in emodir("realise", run, "--scheme", "9999", *there).stderr
    assert emodir("realise", run, "--kept", "0.0001", *there).returncode == 3
    schemes = json.loads((tmp_path / run / "fronts" / "joint.json").read_text())["schemes"]
    picked = {row["scheme"] for row in json.loads(emodir("show", run, "--json", *there).stdout)["picks"]}
    chosen = next(s for s in schemes if s["scheme"] not in picked and 0.1 < s["complexity"] < 0.95)
    kept = chosen["complexity"]
    wanted = min((s for s in schemes if s["complexity"] <= kept), key=lambda s: s["impairment"])["scheme"]
    made = emodir("realise", run, "--kept", str(kept), "--no-tui", *there)
    assert made.returncode == 0, made.stderr
    assert f"realising scheme {wanted} of {run}" in made.stderr
    assert f"scheme-{wanted}" in made.stdout
    assert (tmp_path / run / "export" / f"scheme-{wanted}.safetensors").is_file()
    again = emodir("realise", run, "--scheme", str(wanted), *there)
    assert again.returncode == 0
    assert "already" in again.stdout


def test_compare_and_doctor_have_a_line_for_each_thing(finished):
    emodir, run, _ = finished
    rows = json.loads(emodir("compare", run, run[:6], "--json").stdout)["rows"]
    assert [row["pick"] for row in rows] == ["knee", "max_macs-0.5"] * 2
    assert emodir("compare", run, "nothing").returncode == 3
    findings = json.loads(emodir("doctor", "--json").stdout)["findings"]
    assert {"torch", "disk", "GPUs"} <= {finding["what"] for finding in findings}
