"""The dashboard application: opens screens, chooses the theme, ends when the terminal is lost."""

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.filter import LineFilter, Monochrome, NoColor
from textual.screen import Screen

from emodir_tui.formatting import locale_is_utf8
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.tui.control.keymap import MOVE, Command, commands_of
from emodir_tui.tui.drawing.ascii import AsciiFilter
from emodir_tui.tui.drawing.palette import THEMES, Palette, palette_of
from emodir_tui.tui.screens.main import MainScreen
from emodir_tui.tui.sources.live import LiveSource
from emodir_tui.tui.sources.replay import ReplaySource
from emodir_tui.tui.sources.source import Source

WATCHDOG_SECONDS = 5.0
GRACE_SECONDS = 1.0


def run_dashboard(
    directory: RunDirectory | None,
    runs_dir: Path,
    *,
    replay: bool = False,
    speed: float = 20.0,
    read_only: bool = False,
    ascii_only: bool = False,
    refresh_seconds: float = 1.0,
    compare: Sequence[RunDirectory] = (),
) -> RunDirectory | None:
    """Show the dashboard until the user leaves.

    Args:
        directory: The run to show; None lets the user choose one.
        runs_dir: Folder of the runs that the picker lists.
        replay: Play the recording instead of following the run.
        speed: Replay speed as a multiple of the recorded speed.
        read_only: Offer no controls.
        ascii_only: Draw with ASCII characters only; always so in a locale other than UTF-8.
        refresh_seconds: Seconds between two updates of the screen.
        compare: Two to four runs to compare, instead of showing one.

    Returns:
        The run that was open last, or None.
    """
    app = Dashboard(
        directory,
        runs_dir,
        replay=replay,
        speed=speed,
        read_only=read_only,
        ascii_only=ascii_only or not locale_is_utf8(),
        refresh_seconds=refresh_seconds,
        compare=compare,
    )
    # A long run makes millions of small objects without cycles; frequent collections would double the loading time.
    gc.set_threshold(200_000, 50, 100)
    app.run()
    if app.return_code:
        raise SystemExit(app.return_code)
    return app.last_open


class Dashboard(App[None]):
    """The dashboard application for one or several runs."""

    CSS_PATH = "emodir.tcss"
    TITLE = "emodir"
    BINDINGS: ClassVar[list[BindingType]] = [
        # Textual's own Ctrl+C only shows a hint.
        Binding("ctrl+c", "leave", "Leave", show=False, priority=True),
        Binding("ctrl+q", "leave", "Leave", show=False, priority=True),
    ]

    def __init__(
        self,
        directory: RunDirectory | None,
        runs_dir: Path,
        *,
        replay: bool = False,
        speed: float = 20.0,
        read_only: bool = False,
        ascii_only: bool = False,
        refresh_seconds: float = 1.0,
        compare: Sequence[RunDirectory] = (),
    ) -> None:
        super().__init__()
        self.animation_level = "none"
        self.last_open: RunDirectory | None = directory
        self._runs_dir = runs_dir
        self._directory, self._compare = directory, tuple(compare)
        self._replay, self._speed = replay, speed
        self._read_only, self._refresh_seconds = read_only, refresh_seconds
        self._ascii = AsciiFilter() if ascii_only else None
        if "TEXTUAL_THEME" not in os.environ and not _has_true_colour():
            self.theme = "ansi-dark"

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return Textual's line filters, followed by the ASCII filter if one is needed."""
        filters = [item for item in super().get_line_filters() if not isinstance(item, Monochrome | NoColor)]
        if self.no_color:
            # Textual chooses before the theme is known, and its Monochrome turns the terminal's colours black.
            filters.append(NoColor())
        return filters if self._ascii is None else [*filters, self._ascii]

    def on_mount(self) -> None:
        """Open the first screen."""
        if not self.is_headless:
            self._guard_terminal()
        if self._compare:
            self.open_comparison(self._compare)
        elif self._directory is not None:
            self.open_run(self._directory)
        else:
            self.open_runs()

    def palette(self) -> Palette:
        """Return the colours for the current theme."""
        return palette_of(ansi=self.no_color or bool(self.native_ansi_color), dark=self.current_theme.dark)

    # ---- screens

    def open_run(self, directory: RunDirectory, *, replay: bool | None = None) -> None:
        """Open the main screen of a run."""
        self.last_open = directory
        self.push_screen(
            MainScreen(
                directory,
                self.open_source(directory, replay=self._replay if replay is None else replay),
                self.palette,
                self.open_runs,
                read_only=self._read_only,
                refresh_seconds=self._refresh_seconds,
            )
        )

    def open_source(self, directory: RunDirectory, *, replay: bool = False) -> Source:
        """Return the source of a run's events, live or replayed."""
        if replay:
            return ReplaySource(directory.events_folder, speed=self._speed)
        return LiveSource(directory)

    def open_runs(self) -> None:
        """Open the list of runs and close the run on the screen."""
        from emodir_tui.tui.screens.picker import PickerScreen

        if any(isinstance(screen, PickerScreen) for screen in self.screen_stack):
            while not isinstance(self.screen, PickerScreen):
                self.pop_screen()
        elif isinstance(self.screen, MainScreen):
            self.switch_screen(PickerScreen(self._runs_dir, self.palette, self, read_only=self._read_only))
        else:
            self.push_screen(PickerScreen(self._runs_dir, self.palette, self, read_only=self._read_only))

    def open_comparison(self, directories: Sequence[RunDirectory]) -> None:
        """Open the comparison of several runs."""
        from emodir_tui.tui.screens.comparison import ComparisonScreen

        self.push_screen(ComparisonScreen(directories, self.palette, self.open_source))

    # ---- actions

    def action_leave(self) -> None:
        """Leave the dashboard; the run continues."""
        self.exit()

    def action_theme(self) -> None:
        """Switch to the next of THEMES; the command palette offers all themes."""
        at = THEMES.index(self.theme) if self.theme in THEMES else -1
        self.theme = THEMES[(at + 1) % len(THEMES)]
        draw = getattr(self.screen, "draw", None)
        if callable(draw):
            draw()

    def action_help(self) -> None:
        """Open the help screen."""
        from emodir_tui.tui.screens.help import HelpScreen

        self.push_screen(HelpScreen(self.palette))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Yield the entries of the command palette: commands, themes and a screenshot."""
        is_available = getattr(screen, "is_available", lambda _: True)
        for command in commands_of(*getattr(screen, "SCREENS_OF_COMMANDS", ())):
            if command.id == "palette" or command.group == MOVE or not is_available(command):
                continue
            yield SystemCommand(command.help, _key_hint(command), partial(screen.run_action, command.textual_action))
        for name in sorted(self.available_themes):
            yield SystemCommand(f"Theme: {name}", "Colours of the dashboard", partial(setattr, self, "theme", name))
        yield SystemCommand(
            "Screenshot", "Save this screen as an SVG file in the current folder", self._save_screenshot
        )

    def _save_screenshot(self) -> None:
        try:
            path = self.save_screenshot(path=str(Path.cwd()))
        except OSError as error:
            self.notify(str(error), title="Cannot save the screenshot", severity="error", markup=False)
        else:
            self.notify(path, title="Screenshot saved", markup=False)

    # ---- the terminal

    def _guard_terminal(self) -> None:
        """Leave when the terminal is lost; Textual would loop forever without one."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGHUP, signal.SIGTERM):
            with suppress(NotImplementedError, RuntimeError):
                loop.add_signal_handler(number, self._leave_at_once)
        self.set_interval(WATCHDOG_SECONDS, self._check_terminal)

    def _check_terminal(self) -> None:
        if not os.isatty(0) or not os.isatty(2):
            self._leave_at_once()

    def _leave_at_once(self) -> None:
        # Writing to a lost terminal can block the regular exit.
        timer = threading.Timer(GRACE_SECONDS, os._exit, (129,))
        timer.daemon = True
        timer.start()
        self.exit()


def _has_true_colour() -> bool:
    return os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit")


def _key_hint(command: Command) -> str:
    return f"{command.group} · key {' '.join(command.key_names)}" if command.keys else command.group
