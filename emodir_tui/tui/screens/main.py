"""The main screen: header, six panels, message line and key line. It passes a View to each panel and handles the keys."""

import asyncio
import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.css.query import NoMatches

from emodir_tui.formatting import literal, printable
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.names import StatusWord
from emodir_tui.tui.control.controls import Controls
from emodir_tui.tui.control.keymap import MAIN, PLAY, REPLAY, Command, bindings, commands_of
from emodir_tui.tui.control.panels import CHECKPOINTS, FRONT, LOG, PANELS
from emodir_tui.tui.drawing.palette import Palette
from emodir_tui.tui.presenters.headline import status_line
from emodir_tui.tui.presenters.references import Reference
from emodir_tui.tui.presenters.scopes import default_scope, scopes
from emodir_tui.tui.presenters.view import View
from emodir_tui.tui.screens.confirm import ConfirmScreen
from emodir_tui.tui.screens.details import DetailsScreen
from emodir_tui.tui.screens.notice import NoticeScreen
from emodir_tui.tui.screens.worker_log import WorkerLogScreen
from emodir_tui.tui.sources.live import POLL_SECONDS
from emodir_tui.tui.sources.replay import ReplaySource
from emodir_tui.tui.sources.source import Source
from emodir_tui.tui.widgets.board import Board
from emodir_tui.tui.widgets.filter_box import FilterBox, FilteredScreen
from emodir_tui.tui.widgets.front import FrontPanel, FrontPlot
from emodir_tui.tui.widgets.header import RunHeader
from emodir_tui.tui.widgets.lines import Line, key_line, tabs
from emodir_tui.tui.widgets.log import LogPanel
from emodir_tui.tui.widgets.ranking import RankingPanel
from emodir_tui.tui.widgets.rows import Rows

WIDE, TALL, HIGH = 100, 32, 50
SMALLEST = (60, 16)
PLOT_SECONDS = 2.0
MESSAGE_SECONDS = 8.0
CATCHING_UP_SECONDS = 0.01


class MainScreen(FilteredScreen):
    """The screen of one run."""

    SCREENS_OF_COMMANDS: tuple[str, ...] = (MAIN, REPLAY)
    BINDINGS: ClassVar[list[BindingType]] = bindings(MAIN, REPLAY)

    def __init__(
        self,
        directory: RunDirectory,
        source: Source,
        palette: Callable[[], Palette],
        open_runs: Callable[[], None],
        *,
        read_only: bool = False,
        refresh_seconds: float = 1.0,
    ) -> None:
        super().__init__()
        self.directory, self.source = directory, source
        self._get_palette, self._open_runs = palette, open_runs
        self._refresh_seconds = refresh_seconds
        self._controls = Controls(directory, source, self, read_only=read_only)
        self._signature: tuple[str, ...] = ()
        self._scope = ""
        self._zoomed = False
        self._frozen: View | None = None
        self._filter_target: RankingPanel | LogPanel | None = None
        self._message: tuple[str, str, float] = ("", "", 0.0)
        self._drawn = self._plots_drawn = float("-inf")
        self._has_been_drawn = False

    # ---- layout

    def compose(self) -> ComposeResult:
        """Create header, tabs of the narrow layout, panels, message line and key line."""
        yield RunHeader()
        yield Line("tabs")
        yield Board()
        yield Line("too-small")
        yield Line("message")
        yield FilterBox("a row")
        yield Line("keys")

    def on_mount(self) -> None:
        """Start watching."""
        self._apply_layout()
        self.run_worker(self._watch(), exclusive=True)

    def on_unmount(self) -> None:
        """Stop reading."""
        self.source.close()

    def on_resize(self) -> None:
        """Choose the layout for the new size."""
        self._apply_layout()

    def on_screen_resume(self) -> None:
        """Draw: nothing was drawn while another screen was in front."""
        self.draw(plots=True)

    @property
    def _is_small(self) -> bool:
        return self.size.width < SMALLEST[0] or self.size.height < SMALLEST[1]

    @property
    def _is_single(self) -> bool:
        return self._zoomed or self.size.width < WIDE or self.size.height < TALL

    @property
    def _board(self) -> Board:
        return self.query_one(Board)

    def _apply_layout(self) -> None:
        self.set_class(self._is_single, "-single")
        self.set_class(self._is_small, "-small")
        self.set_class(self.size.height >= HIGH, "-high")
        self._board.apply_layout(single=self._is_single)
        if not self._is_small and self.focused is None:
            self._board.focus_panel(self._board.current)
        self.call_after_refresh(self.draw, plots=True)

    # ---- watching

    async def _watch(self) -> None:
        """Process events in small pieces and draw once a second, so that keys are answered in between."""
        while True:
            was_reading = not self.source.caught_up
            more = self.source.pump()
            now = time.monotonic()
            signature = self._controls.signature()
            is_there = was_reading and self.source.caught_up
            if is_there:
                # A long run that has just been read is shown at once, with its plots.
                self._plots_drawn = float("-inf")
            if is_there or now - self._drawn >= self._refresh_seconds - 0.05 or signature != self._signature:
                self._signature = signature
                # When the application ends, the widgets are removed before the screen.
                with suppress(NoMatches):
                    self._tick()
            waiting = min(POLL_SECONDS, self._refresh_seconds) / 2 if self.source.caught_up else CATCHING_UP_SECONDS
            await asyncio.sleep(0.0 if more else waiting)

    def _tick(self) -> None:
        front = self.app.screen
        if front is self:
            self.draw()
        elif isinstance(front, DetailsScreen):
            self._drawn = time.monotonic()
            front.update()
        else:
            self._drawn = time.monotonic()

    def current_view(self, *, plots: bool = True) -> View:
        """Return the run at this moment."""
        source = self.source
        names = scopes(source.state)
        scope = self._scope if self._scope in names else default_scope(source.state)
        return View(
            run_id=self.directory.id,
            state=source.state,
            status=source.status,
            now=source.now,
            palette=self._get_palette(),
            lines=source.lines,
            gpus=source.gpus,
            damaged=source.damaged,
            caught_up=source.caught_up,
            stalled_seconds=source.stalled_seconds,
            read_only=self._controls.read_only,
            frozen=self._frozen is not None,
            playback=source.playback,
            plots=plots,
            scope=scope,
        )

    def draw(self, *, plots: bool = False) -> None:
        """Draw all changes; the plots at most every PLOT_SECONDS, unless `plots` is set."""
        if not self.is_mounted or not self.is_current:
            return
        self._drawn = now = time.monotonic()
        plots = plots or now - self._plots_drawn >= PLOT_SECONDS
        if plots:
            self._plots_drawn = now
        view = self.current_view(plots=plots)
        self._has_been_drawn = True
        self.query_one(RunHeader).show_run(view)
        self._draw_lines(view)
        if self._is_small:
            width, height = self.size
            sentence = f"window too small ({width}×{height}), needs {SMALLEST[0]}×{SMALLEST[1]}"
            self.query_one("#too-small", Line).show(Text(sentence), Text(status_line(view)))
            return
        shown = (
            view if self._frozen is None else replace(self._frozen, palette=view.palette, scope=view.scope, plots=plots)
        )
        self._board.show(shown)

    def _draw_lines(self, view: View) -> None:
        palette = view.palette
        self.query_one("#tabs", Line).show(tabs([panel.tab for panel in PANELS], self._board.current, palette))
        text, level = self._message_line()
        style = {"error": palette.bad, "warning": palette.warn, "good": palette.good, "info": palette.accent}.get(
            level, palette.dim
        )
        self.query_one("#message", Line).show(Text(f" {text}", style=style, no_wrap=True))
        self.query_one("#keys", Line).show(key_line(self._keys(view), self.size.width, palette))

    def _message_line(self) -> tuple[str, str]:
        """Return text and level of the message line: the last message, a request, or the hint of the current panel."""
        now = time.monotonic()
        text, level, at = self._message
        if text and now - at < MESSAGE_SECONDS:
            return text, level
        text, level = self._controls.status_message()
        if text:
            return text, level
        return self._board.panel.SPEC.hint, ""

    def _keys(self, view: View) -> list[tuple[str, str, str]]:
        """Return the key line: the commands available in this state."""
        labels = {
            "pause": "Continue" if view.word == StatusWord.PAUSED else "Pause",
            "freeze": "Freeze" if self._frozen is None else "Unfreeze",
        }
        return [
            (command.key_names[0], labels.get(command.id, command.label), command.textual_action)
            for command in sorted(commands_of(MAIN, REPLAY), key=lambda command: command.line)
            if command.line and command.id != "back" and self.is_available(command)
        ]

    def is_available(self, command: Command) -> bool:
        """Whether a command has an effect in this state; used by the key line and the command palette."""
        live, replaying = self.source.status.is_live, self.source.playback is not None
        if command.group == PLAY:
            return replaying
        if command.id in ("save", "pause", "stop", "stop-now"):
            return live and not replaying and not self._controls.read_only
        if command.id == "resume":
            ended = not live and self.source.status.word != StatusWord.FINISHED
            return ended and not replaying and not self._controls.read_only
        return True

    def show_message(self, text: str, level: str = "info") -> None:
        """Show a message for a while; an empty text clears it."""
        self._message = (literal(text, 300), level, time.monotonic())
        if self._has_been_drawn:
            self._draw_lines(self.current_view(plots=False))

    def ask(self, question: str, explanation: str, yes: str, then: Callable[[], None]) -> None:
        """Ask for confirmation and call `then` after a yes."""
        self.app.push_screen(ConfirmScreen(question, explanation, yes), lambda answer: then() if answer else None)

    def explain(self, title: str, body: str) -> None:
        """Show a text of several lines."""
        self.app.push_screen(NoticeScreen(title, body))

    # ---- controlling

    def action_save(self) -> None:
        """Request a checkpoint."""
        self._controls.save()

    def action_pause(self) -> None:
        """Request a pause, or the end of the pause."""
        self._controls.pause_or_continue()

    def action_stop(self) -> None:
        """Request a stop, after a confirmation."""
        self._controls.stop()

    def action_stop_now(self) -> None:
        """Stop the worker without saving, after a confirmation."""
        self._controls.stop_now()

    def action_resume(self) -> None:
        """Start a worker that resumes the run."""
        self._controls.resume()

    # ---- viewing

    def action_panel(self, number: int) -> None:
        """Go to a panel."""
        self._board.focus_panel(number)
        # A hidden panel knows its size only after the next layout.
        self.call_after_refresh(self.draw, plots=True)

    def action_next_panel(self, by: int) -> None:
        """Go to the next or the previous panel."""
        self.action_panel((self._board.current - 1 + by) % len(PANELS) + 1)

    def action_checkpoints(self) -> None:
        """Go to the checkpoints."""
        self.action_panel(CHECKPOINTS.number)

    def action_zoom(self) -> None:
        """Show one panel alone, or all panels."""
        self._zoomed = not self._zoomed
        self._apply_layout()
        self._board.focus_panel(self._board.current)

    def action_back(self) -> None:
        """End the filter or the zoom, or clear the message."""
        if self.query_one(FilterBox).is_open:
            self._filter("")
            self._filter_kept()
        elif self._zoomed:
            self.action_zoom()
        elif self._message[0]:
            self._message = ("", "", 0.0)
            self.draw()

    def action_scope(self, by: int) -> None:
        """Switch to another front."""
        names = scopes(self.source.state)
        current = self.current_view().scope
        self._scope = names[(names.index(current) + by) % len(names)]
        if self._is_single and self._board.current != FRONT.number:
            self.show_message(f"front: {literal(self._scope)}")
        self.draw(plots=True)

    def action_sort(self) -> None:
        """Sort the ranking by the next column."""
        column = self._board.ranking.sort_next()
        self.show_message(f"ranking sorted by {column}")
        self.draw()

    def action_level(self) -> None:
        """Switch the level of the log."""
        level = self._board.log_panel.level_next()
        self.show_message(
            {"detail": "log: all levels", "info": "log: without details"}.get(level, f"log: {level} and above")
        )
        self.draw()

    def action_logarithmic(self) -> None:
        """Switch between a logarithmic and a linear impairment axis of the front."""
        panel = self._board.front
        panel.logarithmic = not panel.logarithmic
        self.show_message("front: logarithmic impairment" if panel.logarithmic else "front: linear impairment")
        self.draw(plots=True)

    def action_worker_log(self) -> None:
        """Open the worker's log."""
        self.app.push_screen(WorkerLogScreen(self.directory.worker_log, self.directory.id, self._get_palette))

    def action_runs(self) -> None:
        """Open the list of runs."""
        self._open_runs()

    def action_freeze(self) -> None:
        """Freeze the panels, or unfreeze them. Reading continues; frozen panels can still be sorted and filtered."""
        if self._frozen is None:
            view = self.current_view()
            self._frozen = replace(view, state=deepcopy(view.state))
            self.show_message("the panels are frozen; the run continues · f unfreezes")
        else:
            self._frozen = None
            self.show_message("the panels follow the run again")
        self.draw(plots=True)

    def action_copy(self) -> None:
        """Copy the command that attaches to this run."""
        self.copy(shlex.join(["emodir", "watch", self.directory.id]))

    def copy(self, text: str) -> None:
        """Copy to the clipboard if the terminal supports it, and show the text."""
        # Names come from outside: text pasted into a shell must show all its characters.
        text = printable(text)
        self.app.copy_to_clipboard(text)
        self.show_message(f"copied, if the terminal supports it: {text}", "good")
        if self.app.screen is not self:
            self.explain("Copied, if the terminal supports it", literal(text))

    def action_filter(self) -> None:
        """Open the filter of the ranking, or of the log from any other panel."""
        if self._board.filterable is None:
            self.action_panel(LOG.number)
        self._filter_target = self._board.filterable
        self.query_one("#message", Line).display = False
        super().action_filter()
        self._filter("")

    @on(FilterBox.Changed)
    def _filter_changed(self, event: FilterBox.Changed) -> None:
        if self.query_one(FilterBox).is_open:
            self._filter(event.value)

    @on(FilterBox.Kept)
    def _filter_kept(self) -> None:
        self.query_one(FilterBox).close(keep=True)
        self._board.focus_panel(self._board.current)
        self._filter_left()

    @on(FilterBox.Left)
    def _filter_left(self) -> None:
        self.query_one("#message", Line).display = True
        self.draw()

    def _filter(self, text: str) -> None:
        """Filter the panel for which the box was opened, even if another panel is current now."""
        if self._filter_target is not None:
            self._filter_target.filter_by(text)
        self.draw()

    # ---- messages of the panels

    @on(Board.CurrentChanged)
    def _current_changed(self) -> None:
        self.draw()

    @on(Rows.Moved, "#subnetworks")
    def _subnetwork_moved(self, event: Rows.Moved) -> None:
        self._scope = str(event.key)
        self.draw(plots=True)

    @on(Rows.Selected)
    def _row_selected(self, event: Rows.Selected) -> None:
        reference = self._board.reference_of(event.rows.id or "", event.key)
        if reference is not None:
            self._open(reference)

    @on(Rows.HeaderClicked, "#ranking")
    def _header_clicked(self, event: Rows.HeaderClicked) -> None:
        self._board.ranking.sort_by(event.column)
        self.draw()

    @on(FrontPlot.Moved)
    def _point_moved(self, event: FrontPlot.Moved) -> None:
        self._board.front.move(event.by)
        self.draw(plots=True)

    @on(FrontPanel.HasNoDetails)
    def _point_without_details(self) -> None:
        self.show_message("details are available once this front is finished")

    @on(FrontPanel.Selected)
    def _point_selected(self, event: FrontPanel.Selected) -> None:
        self._open(event.reference)

    def _open(self, reference: Reference) -> None:
        self.app.push_screen(
            DetailsScreen(reference, self.current_view, self._controls.realise, self._controls.resume_from, self.copy)
        )

    # ---- replaying

    def action_play(self) -> None:
        """Play or pause the replay."""
        self._play(lambda replay: replay.toggle())

    def action_step(self, by: int) -> None:
        """Step back or forward by 2 % of the recording."""
        self._play(lambda replay: replay.step(by / 50))

    def action_speed(self, by: int) -> None:
        """Halve or double the speed."""
        self._play(lambda replay: replay.faster(2.0**by))

    def _play(self, act: Callable[[ReplaySource], None]) -> None:
        if isinstance(self.source, ReplaySource):
            act(self.source)
            self.draw(plots=True)
