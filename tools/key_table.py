"""Print the table of keys in docs/dashboard.md, made from the dashboard's commands: python tools/key_table.py."""

from emodir_tui.tui.control.keymap import ALL_SCREENS, COMMANDS, Command


def key_table() -> str:
    """All commands as a Markdown table."""
    lines = ["| Key | Command | Screens |", "|---|---|---|"]
    for group in dict.fromkeys(command.group for command in COMMANDS):
        lines += [_row(command) for command in COMMANDS if command.group == group]
    return "\n".join(lines)


def _row(command: Command) -> str:
    keys = " ".join(f"`{key}`" for key in command.key_names) or "(palette)"
    screens = "all" if set(command.screens) >= set(ALL_SCREENS) else ", ".join(command.screens)
    return f"| {keys} | {command.help} | {screens} |"


if __name__ == "__main__":
    print(key_table())
