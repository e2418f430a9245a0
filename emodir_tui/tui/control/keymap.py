"""The table of commands: source of the bindings, key line, command palette, help and documentation."""

from dataclasses import dataclass

from textual.binding import Binding, BindingType

from emodir_tui.tui.control.panels import PANELS

MAIN, PICKER, COMPARISON, LOG, DETAILS, REPLAY = "main", "picker", "comparison", "log", "details", "replay"
RUN, VIEW, MOVE, RUNS, PLAY, HELP = "Run", "View", "Move", "Runs", "Replay", "Help and leaving"
ALL_SCREENS = (MAIN, PICKER, COMPARISON, LOG)

_KEY_NAMES = {
    "question_mark": "?",
    "slash": "/",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "comma": ",",
    "full_stop": ".",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "escape": "Esc",
    "enter": "Enter",
    "tab": "Tab",
    "shift+tab": "Shift+Tab",
    "space": "Space",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "home": "Home",
    "end": "End",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "ctrl+c": "Ctrl+C",
    "ctrl+p": "Ctrl+P",
    "ctrl+q": "Ctrl+Q",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A command and its keys. `line` is its place in the key line, 0 for none; `action` defaults to the id."""

    id: str
    keys: tuple[str, ...]
    label: str
    help: str
    group: str
    screens: tuple[str, ...] = (MAIN,)
    action: str = ""
    line: int = 0

    @property
    def textual_action(self) -> str:
        """Name of the Textual action."""
        return self.action or self.id.replace("-", "_")

    @property
    def key_names(self) -> tuple[str, ...]:
        """The keys as printed on a keyboard."""
        return tuple(_KEY_NAMES.get(key, key) for key in self.keys)


def _panels() -> tuple[Command, ...]:
    return tuple(
        Command(
            id=f"panel-{panel.number}",
            keys=(str(panel.number),),
            label=panel.name,
            help=f"Go to panel {panel.number}, {panel.name}",
            group=VIEW,
            action=f"panel({panel.number})",
        )
        for panel in PANELS
    )


def _make(
    name: str, key: str, label: str, help_text: str, group: str, *screens: str, action: str = "", line: int = 0
) -> Command:
    return Command(
        id=name,
        keys=tuple(key.split()),
        label=label,
        help=help_text,
        group=group,
        screens=screens or (MAIN,),
        action=action,
        line=line,
    )


COMMANDS: tuple[Command, ...] = (
    _make("save", "s", "Save", "Save a checkpoint now", RUN, line=10),
    _make("pause", "p", "Pause", "Pause the run (it keeps its memory), or continue it", RUN, line=11),
    _make("stop", "x", "Stop", "Save a checkpoint and stop the run; asks first", RUN, line=12),
    _make("stop-now", "", "Stop now", "Stop the worker now, without saving; asks first", RUN),
    _make("resume", "r", "Resume", "Resume a stopped, failed or lost run", RUN, MAIN, PICKER, line=13),
    _make("checkpoints", "c", "Ckpts", "Go to the checkpoints; Enter offers to resume from one", RUN, line=40),
    _make("realise", "e", "Realise", "In a scheme's details: build a network from it", RUN, DETAILS),
    _make("resume-from", "r", "Resume from", "In a checkpoint's details: resume from it", RUN, DETAILS),
    *_panels(),
    _make("zoom", "z", "Zoom", "Show one panel alone, or all panels", VIEW, line=20),
    _make(
        "scope-on",
        "right_square_bracket",
        "Next front",
        "Show the next front: each sub-network's, merged, joint",
        VIEW,
        MAIN,
        COMPARISON,
        action="scope(1)",
    ),
    _make(
        "scope-back",
        "left_square_bracket",
        "Previous front",
        "Show the previous front",
        VIEW,
        MAIN,
        COMPARISON,
        action="scope(-1)",
    ),
    _make("sort", "o", "Sort", "Sort the ranking by the next column", VIEW),
    _make("filter", "slash", "Filter", "Filter the ranking (in panel 3) or the log", VIEW, MAIN, LOG, line=31),
    _make("level", "v", "Level", "Switch the log level: all, info, warnings, errors", VIEW),
    _make("logarithmic", "L", "Log axis", "Switch the front to logarithmic or linear impairment", VIEW),
    _make("freeze", "f", "Freeze", "Freeze the panels; the run continues", VIEW, line=21),
    _make("worker-log", "l", "Log", "Show the output of the worker", VIEW, line=41),
    _make(
        "theme",
        "t",
        "Theme",
        "Switch the theme: dark, light, terminal colours",
        VIEW,
        *ALL_SCREENS,
        action="app.theme",
    ),
    _make("panel-on", "tab", "Next panel", "Go to the next panel", MOVE, action="next_panel(1)"),
    _make("panel-back", "shift+tab", "Previous panel", "Go to the previous panel", MOVE, action="next_panel(-1)"),
    _make("rows", "up down", "Rows", "Move in a list; also j k, PgUp PgDn, Home End", MOVE, *ALL_SCREENS, DETAILS),
    _make("point", "left right", "Points", "Select a point of the front (panel 4)", MOVE),
    _make("details", "enter", "Details", "Show details of the selected row or point", MOVE, MAIN, DETAILS),
    _make(
        "back", "escape", "Back", "Go back or close; end zoom or filter", MOVE, MAIN, COMPARISON, LOG, DETAILS, line=1
    ),
    _make("close", "q", "Close", "Close the details", MOVE, DETAILS, action="dismiss(None)"),
    _make("open", "enter", "Open", "Open the selected run", RUNS, PICKER, line=5),
    _make("mark", "space", "Mark", "Mark a run for comparison", RUNS, PICKER, line=6),
    _make("compare", "m", "Compare", "Compare the marked runs (two to four)", RUNS, PICKER, line=7),
    _make("replay", "v", "Replay", "Replay the selected run", RUNS, PICKER, line=14),
    _make("runs", "w", "Runs", "Show the list of runs", RUNS, line=42),
    _make("play", "space", "Play", "Play or pause the replay", PLAY, REPLAY, line=5),
    _make("step-back", "comma", "Back", "Step back by 2 % of the recording", PLAY, REPLAY, action="step(-1)", line=6),
    _make(
        "step-on",
        "full_stop",
        "Forward",
        "Step forward by 2 % of the recording",
        PLAY,
        REPLAY,
        action="step(1)",
        line=7,
    ),
    _make("slower", "less_than_sign", "Slower", "Halve the speed", PLAY, REPLAY, action="speed(-1)", line=8),
    _make("faster", "greater_than_sign", "Faster", "Double the speed", PLAY, REPLAY, action="speed(1)", line=9),
    _make("copy", "y", "Copy", "Copy and show the command for this view", HELP, MAIN, DETAILS),
    _make(
        "help",
        "question_mark",
        "Help",
        "Show all keys and explain the screens",
        HELP,
        *ALL_SCREENS,
        action="app.help",
        line=50,
    ),
    _make(
        "palette",
        "ctrl+p",
        "Palette",
        "Search all commands by name",
        HELP,
        *ALL_SCREENS,
        action="app.command_palette",
        line=43,
    ),
    _make(
        "leave",
        "q ctrl+c ctrl+q",
        "Leave",
        "Leave the dashboard; the run continues",
        HELP,
        *ALL_SCREENS,
        action="app.leave",
        line=51,
    ),
)

# Rows and FrontPlot bind these while they have the focus; the application binds the keys below with priority.
_BOUND_ELSEWHERE = ("rows", "point", "details", "open")
_BOUND_BY_APPLICATION = ("ctrl+c", "ctrl+q", "ctrl+p")


def commands_of(*screens: str) -> list[Command]:
    """Return the commands of these screens in table order."""
    return [command for command in COMMANDS if any(screen in command.screens for screen in screens)]


def bindings(*screens: str) -> list[BindingType]:
    """Return Textual's bindings for these screens."""
    return [
        Binding(key, command.textual_action, command.help, show=False, tooltip=command.help)
        for command in commands_of(*screens)
        if command.id not in _BOUND_ELSEWHERE
        for key in command.keys
        if key not in _BOUND_BY_APPLICATION
    ]


def key_line_commands(*screens: str) -> list[tuple[str, str, str]]:
    """Return (key, label, action) of each command in the key line of these screens."""
    shown = [command for command in commands_of(*screens) if command.line]
    return [
        (command.key_names[0], command.label, command.textual_action)
        for command in sorted(shown, key=lambda item: item.line)
    ]
