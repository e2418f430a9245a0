"""docs/architecture.md states what the code is; what of it can be computed is compared here."""

import ast
import re
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "emodir_tui"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
# The names in a run directory that no other module may spell.
FILE_NAMES = re.compile(
    r"(run|batches|picks|summary)\.json|profile\.toml|heartbeat|worker\.(log|lock)|\.(result|checkpoint|jsonl)|events|checkpoints|results|aside"
)


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def block(title: str) -> str:
    return section(title).partition("```")[2].partition("\n")[2].partition("```")[0]


def test_the_tree_names_every_package_and_top_level_module_and_no_other():
    entries = [line.split()[0] for line in block("Packages").splitlines() if line.startswith("  ")]
    modules = {path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")}
    packages = {f"{path.parent.relative_to(PACKAGE)}/" for path in PACKAGE.rglob("__init__.py")} - {"./"}
    assert modules | packages <= set(entries)
    assert [entry for entry in entries if not (PACKAGE / entry).exists()] == []


def test_the_main_path_is_the_workers():
    source = (PACKAGE / "worker.py").read_text()
    assert textwrap.indent(block("The main path"), "    ") in source


def test_the_chains_of_layers_are_those_that_are_checked():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    chains = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    text = " ".join(section("Layers").split())
    for chain in chains:
        names = [" | ".join(name.removeprefix("emodir_tui.") for name in layer.split(" | ")) for layer in chain]
        if names[-1] == "stages.support":
            names = ["the eight steps", "support"]
        short = "` → `".join(names) if names[0] != "the eight steps" else "the eight steps → `support"
        assert f"{short}`" in text


def test_every_path_that_the_page_names_exists():
    roots = (ROOT, PACKAGE, PACKAGE / "nets", PACKAGE / "tui")
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    paths = re.findall(r"`((?:[\w-]+/)*[\w-]+\.(?:py|md|toml)|(?:[\w-]+/)+)`", prose)
    assert len(paths) > 15
    assert [path for path in paths if not any((root / path).exists() for root in roots)] == []


def test_runs_needs_the_standard_library_msgspec_and_the_profile_only():
    for path in (PACKAGE / "runs").glob("*.py"):
        for name in imported(path):
            top, _, rest = name.partition(".")
            own = top == "emodir_tui" and rest.split(".")[0] in ("runs", "profile", "errors", "seeds", "formatting")
            assert own or top in sys.stdlib_module_names or top == "msgspec", f"{path.name} imports {name}"


@pytest.mark.parametrize("folder", ["runs", "stages", "reports", "tui", "problems", "."])
def test_only_the_run_directory_spells_names_of_its_files(folder):
    spelled = []
    for path in (PACKAGE / folder).glob("**/*.py" if folder != "." else "*.py"):
        if path.name in ("directory.py", "baseline_cache.py"):
            # The cache of baselines is in the user's home.
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            # A name that is joined to a path: folder / "run.json".
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                text = ast.unparse(node.right)
                if text[0] in "'\"f" and FILE_NAMES.search(text):
                    spelled.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {text}")
    assert spelled == []


def test_each_step_has_one_public_function_of_its_own_name():
    steps = [path for path in (PACKAGE / "stages").glob("*.py") if path.stem not in ("__init__", "costs")]
    assert len(steps) == 8
    for path in steps:
        body = ast.parse(path.read_text()).body
        public = [node.name for node in body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"]
        assert public == [path.stem]


def imported(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names
