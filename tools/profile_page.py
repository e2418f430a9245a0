"""Write docs/profile.md: every key of a profile with its type, default, unit and meaning.

python tools/profile_page.py
"""

from pathlib import Path

import tomli_w

from emodir_tui.profile import Profile, Section, keys

HEAD = """# Profiles

A profile is a TOML file. `emodir run FILE --set section.key=value` overrides keys; values are TOML or plain text. The run
directory keeps the resolved profile with every key as `profile.toml`. Unknown keys, wrong types and impossible values are
refused; the error gives the file, the key, the reason and the nearest right name. `emodir check FILE` is a dry run of a
profile.

`tools/profile_page.py` writes this page from `emodir_tui/profile.py`; a test compares both.
"""


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    rows = keys()
    lines += ["## Top level\n", *_table([row for row in rows if "." not in row[0]])]
    for name, field in Profile.model_fields.items():
        if isinstance(field.default, Section):
            lines += [f"## [{name}]\n", f"{(type(field.default).__doc__ or '').strip()}\n"]
            lines += _table([row for row in rows if row[0].startswith(f"{name}.")])
    return "\n".join(lines)


def _table(rows: list[tuple[str, str, object, str]]) -> list[str]:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, kind, default, description in rows:
        shown = " ".join(tomli_w.dumps({"x": default}, multiline_strings=False).split()).removeprefix("x = ")
        shown = shown.replace("[ ", "[").replace(", ]", "]")
        lines.append(f"| `{key}` | {kind.replace('|', 'or')} | `{shown}` | {description} |")
    return [*lines, ""]


if __name__ == "__main__":
    (Path(__file__).parent.parent / "docs" / "profile.md").write_text(page())
