import pytest
import torch

from emodir_tui.errors import EmodirError, ProfileError
from emodir_tui.nets.export.formats import export_network
from emodir_tui.nets.export.pruned_file import load_pruned, read_pruned, save_pruned
from emodir_tui.nets.removal import remove, structure
from emodir_tui.nets.sources import zoo
from emodir_tui.nets.sources.models import load_model
from tests.support.models import TORCHVISION, disturbed, graph_of, random_keep, torchvision_model, zoo_model
from tests.support.user_networks import CASES


def pruned(name):
    torch.manual_seed(0)
    if name in CASES:
        model, x = disturbed(CASES[name]), torch.randn(2, 3, 12, 12)
    elif name in zoo.NAMES:
        model, x = zoo_model(name)
    else:
        size = 96 if name == "inception_v3" else 64
        model, x = disturbed(torchvision_model(name)), torch.randn(2, 3, size, size)
    graph = graph_of(model, x)
    return remove(graph, random_keep(graph, 1, empty=True)), x


# Between them, each module of channel_modules: constant, view, split, gather and pad.
QUICK = [
    ("digits-resnet", "onnx"),
    ("a channel shuffle", "onnx"),
    ("chunk and concatenation", "torch-export"),
    ("every second channel", "onnx"),
    ("an addition in place", "torch-export"),
    ("a residual scaled by a parameter", "torch-export"),
    ("a view with fixed sizes", "torch-export"),
    ("resnet", "torch-export"),
]
ALL = [(name, kind) for name in (*TORCHVISION, "resnet56", "vgg16") for kind in ("torch-export", "onnx")]


@pytest.mark.parametrize(("name", "kind"), [*QUICK, *(pytest.param(*one, marks=pytest.mark.full) for one in ALL)])
@pytest.mark.filterwarnings("ignore")
def test_an_exported_network_computes_what_the_network_computes(name, kind):
    model, x = pruned(name)
    payload, difference = export_network(model, tuple(x.shape[1:]), kind)
    assert payload
    assert difference < 1e-4


def test_the_networks_that_are_exported_have_every_module_that_pruning_puts_in():
    found = {type(module).__name__ for name, _ in QUICK for module in pruned(name)[0].modules()}
    assert {"ChannelPad", "ChannelSplit", "ChannelGather", "ChannelView", "ChannelConstant"} <= found


def test_what_cannot_be_exported_is_said_in_a_sentence():
    class Stubborn(torch.nn.Module):
        def forward(self, x):
            return x * 2 if x.sum() > 0 else x

    with pytest.raises(EmodirError, match="cannot be exported as torch-export"):
        export_network(Stubborn(), (3, 8, 8), "torch-export")


@pytest.fixture
def file(tmp_path):
    model, x = zoo_model("digits-resnet")
    graph = graph_of(model, x)
    keep = random_keep(graph, 2, empty=True)
    made = remove(graph, keep)
    import json

    path = tmp_path / "pruned.safetensors"
    save_pruned(
        path,
        dict(made.state_dict()),
        structure=json.dumps(structure(graph, keep)),
        source="digits-resnet",
        classes=10,
        input_shape=(1, 8, 8),
        details={"pick": "knee"},
    )
    return path, made, x


def test_a_file_comes_back_bit_for_bit(file):
    path, made, x = file
    with torch.no_grad():
        assert torch.equal(load_pruned(path)(x), made(x))
    assert read_pruned(path)[0].details == {"pick": "knee"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:100],
        lambda b: b"",
        lambda b: b[:-40],
        lambda b: b"\x80\x04" + b,
        lambda b: b.replace(b'"genes\\": 288', b'"genes\\": 299'),
    ],
)
def test_damaged_files_are_refused_in_a_sentence(file, damage):
    path, _, _ = file
    content = path.read_bytes()
    path.write_bytes(damage(content))
    if path.read_bytes() == content:
        pytest.skip("nothing to damage there")
    with pytest.raises(ProfileError):
        load_pruned(path)


class Bomb:
    def __reduce__(self):
        import os

        return (os.mkdir, ("bomb-went-off",))


def test_a_pickle_is_refused_and_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weights": Bomb()}, tmp_path / "x.safetensors")
    with pytest.raises(ProfileError):
        load_pruned(tmp_path / "x.safetensors")
    assert not (tmp_path / "bomb-went-off").exists()


def test_another_programs_safetensors_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(ProfileError, match="has weights only"):
        load_pruned(tmp_path / "x.safetensors")


def test_another_architecture_is_refused(file):
    path, _, _ = file
    with pytest.raises(ProfileError, match="does not fit the architecture"):
        load_pruned(path, load_model("resnet20", "", 10))


def test_a_file_cannot_choose_whose_code_is_run(tmp_path):
    weights = {"x": torch.zeros(2)}
    save_pruned(
        tmp_path / "x.safetensors",
        weights,
        structure="{}",
        source="os:_exit",
        classes=42,
        input_shape=(3, 8, 8),
        details={},
    )
    with pytest.raises(ProfileError, match="must not choose which code runs"):
        load_pruned(tmp_path / "x.safetensors")
