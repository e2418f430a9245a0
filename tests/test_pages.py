"""The Markdown pages: links resolve, named files exist, every decision is complete."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FIELDS = ["Decision", "Why", "Figures", "Date", "What would overturn it"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_exist(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_a_page_exist(page):
    names = re.findall(r"`((?:[\w-]+/)+[\w-]+\.py)`", page.read_text())
    assert [name for name in names if not any((root / name).exists() for root in (ROOT, ROOT / "emodir_tui"))] == []


def test_every_decision_has_its_reason_figures_date_and_what_would_overturn_it():
    _, *decisions = (ROOT / "docs" / "decisions.md").read_text().split("\n## ")
    assert len(decisions) > 20
    for decision in decisions:
        assert re.findall(r"^- \*\*(.+?)\.\*\*", decision, re.MULTILINE) == FIELDS, decision.splitlines()[0]
        assert re.search(r"\*\*Date\.\*\* 20\d\d-\d\d-\d\d", decision), decision.splitlines()[0]
