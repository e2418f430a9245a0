"""The main screen: header, six panels, message line, key line. It hands each panel a View and acts on the keys."""

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
    """One run."""

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
        """Header, tabs of the narrow layout, panels, message line, key line."""
        yield RunHeader()
        yield Line("tabs")
        yield Board()
        yield Line("too-small")
        yield Line("message")
        yield FilterBox("a row")
        yield Line("keys")

    def on_mount(self) -> None:
        """Begin to watch."""
        self._apply_layout()
        self.run_worker(self._watch(), exclusive=True)

    def on_unmount(self) -> None:
        """Read no more."""
        self.source.close()

    def on_resize(self) -> None:
        """Another size may mean another layout."""
        self._apply_layout()

    def on_screen_resume(self) -> None:
        """Nothing was drawn while another screen was in front."""
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
        """Take in events in small pieces, draw once a second; keys are answered in between."""
        while True:
            was_reading = not self.source.caught_up
            more = self.source.pump()
            now = time.monotonic()
            signature = self._controls.signature()
            is_there = was_reading and self.source.caught_up
            if is_there:
                # Whoever waited for a long run sees it at once, plots too.
                self._plots_drawn = float("-inf")
            if is_there or now - self._drawn >= self._refresh_seconds - 0.05 or signature != self._signature:
                self._signature = signature
                # While the application ends, the widgets go before the screen does.
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
        """The run as it is now."""
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
        """Draw what changed; the plots at most each two seconds, unless asked for."""
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
            sentence = f"window too small ({width}×{height}), need {SMALLEST[0]}×{SMALLEST[1]}"
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
        """What the message line says: what was said last, a request on its way, else the focused panel's hint."""
        now = time.monotonic()
        text, level, at = self._message
        if text and now - at < MESSAGE_SECONDS:
            return text, level
        text, level = self._controls.status_message()
        if text:
            return text, level
        return self._board.panel.SPEC.hint, ""

    def _keys(self, view: View) -> list[tuple[str, str, str]]:
        """The key line: only what makes sense in this state."""
        labels = {
            "pause": "Continue" if view.word == "paused" else "Pause",
            "freeze": "Freeze" if self._frozen is None else "Unfreeze",
        }
        return [
            (command.key_names[0], labels.get(command.id, command.label), command.textual_action)
            for command in sorted(commands_of(MAIN, REPLAY), key=lambda command: command.line)
            if command.line and command.id != "back" and self.is_available(command)
        ]

    def is_available(self, command: Command) -> bool:
        """Whether a command does anything in this state; the palette asks too."""
        live, replaying = self.source.status.is_live, self.source.playback is not None
        if command.group == PLAY:
            return replaying
        if command.id in ("save", "pause", "stop", "stop-now"):
            return live and not replaying and not self._controls.read_only
        if command.id == "resume":
            ended = not live and self.source.status.word != "finished"
            return ended and not replaying and not self._controls.read_only
        return True

    def show_message(self, text: str, level: str = "info") -> None:
        """Say something in the message line for a while; an empty text takes back what was said."""
        self._message = (literal(text, 300), level, time.monotonic())
        if self._has_been_drawn:
            self._draw_lines(self.current_view(plots=False))

    def ask(self, question: str, explanation: str, yes: str, then: Callable[[], None]) -> None:
        """Ask before something is done."""
        self.app.push_screen(ConfirmScreen(question, explanation, yes), lambda answer: then() if answer else None)

    def explain(self, title: str, body: str) -> None:
        """Show a text of several lines."""
        self.app.push_screen(NoticeScreen(title, body))

    # ---- controlling

    def action_save(self) -> None:
        """Ask for a checkpoint."""
        self._controls.save()

    def action_pause(self) -> None:
        """Ask for a pause, or for its end."""
        self._controls.pause_or_continue()

    def action_stop(self) -> None:
        """Ask for the end, after a question."""
        self._controls.stop()

    def action_stop_now(self) -> None:
        """End it at once, after a question."""
        self._controls.stop_now()

    def action_resume(self) -> None:
        """Start a worker again."""
        self._controls.resume()

    # ---- looking

    def action_panel(self, number: int) -> None:
        """Go to a panel."""
        self._board.focus_panel(number)
        # A panel that was hidden knows its size after the next layout only.
        self.call_after_refresh(self.draw, plots=True)

    def action_next_panel(self, by: int) -> None:
        """Go to the panel after or before."""
        self.action_panel((self._board.current - 1 + by) % len(PANELS) + 1)

    def action_checkpoints(self) -> None:
        """Go to the checkpoints."""
        self.action_panel(CHECKPOINTS.number)

    def action_zoom(self) -> None:
        """One panel alone, or all again."""
        self._zoomed = not self._zoomed
        self._apply_layout()
        self._board.focus_panel(self._board.current)

    def action_back(self) -> None:
        """End the filter or the zoom; then to the list of runs, if one came from there."""
        if self.query_one(FilterBox).is_open:
            self._filter("")
            self._filter_kept()
        elif self._zoomed:
            self.action_zoom()
        elif self._message[0]:
            self._message = ("", "", 0.0)
            self.draw()

    def action_scope(self, by: int) -> None:
        """Another front."""
        names = scopes(self.source.state)
        current = self.current_view().scope
        self._scope = names[(names.index(current) + by) % len(names)]
        if self._is_single and self._board.current != FRONT.number:
            self.show_message(f"front: {literal(self._scope)}")
        self.draw(plots=True)

    def action_sort(self) -> None:
        """Sort the ranking by another column."""
        column = self._board.ranking.sort_next()
        self.show_message(f"ranking sorted by {column}")
        self.draw()

    def action_level(self) -> None:
        """Another level of the log."""
        level = self._board.log_panel.level_next()
        self.show_message(
            {"detail": "log: all levels", "info": "log: without details"}.get(level, f"log: {level} and above")
        )
        self.draw()

    def action_logarithmic(self) -> None:
        """The front's impairment axis."""
        panel = self._board.front
        panel.logarithmic = not panel.logarithmic
        self.show_message("front: logarithmic impairment" if panel.logarithmic else "front: linear impairment")
        self.draw(plots=True)

    def action_worker_log(self) -> None:
        """What the worker printed."""
        self.app.push_screen(WorkerLogScreen(self.directory.worker_log, self.directory.id, self._get_palette))

    def action_runs(self) -> None:
        """The list of all runs."""
        self._open_runs()

    def action_freeze(self) -> None:
        """Hold the panels still; reading goes on, and they can be moved in, sorted and filtered."""
        if self._frozen is None:
            view = self.current_view()
            self._frozen = replace(view, state=deepcopy(view.state))
            self.show_message("the panels are frozen; the run goes on · f again")
        else:
            self._frozen = None
            self.show_message("the panels follow again")
        self.draw(plots=True)

    def action_copy(self) -> None:
        """The command that attaches to this run."""
        self.copy(shlex.join(["emodir", "watch", self.directory.id]))

    def copy(self, text: str) -> None:
        """To the clipboard, as far as the terminal lets it; always shown too."""
        # Names come from outside: what is pasted into a shell shows every character that it has.
        text = printable(text)
        self.app.copy_to_clipboard(text)
        self.show_message(f"copied (where the terminal allows it): {text}", "good")
        if self.app.screen is not self:
            self.explain("Copied, where the terminal allows it", literal(text))

    def action_filter(self) -> None:
        """Open the filter of the ranking, or else of the log."""
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
        """Filter the panel that the box was opened for, whichever is the current one by now."""
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
        self.show_message("points have details once this front is finished")

    @on(FrontPanel.Selected)
    def _point_selected(self, event: FrontPanel.Selected) -> None:
        self._open(event.reference)

    def _open(self, reference: Reference) -> None:
        self.app.push_screen(
            DetailsScreen(reference, self.current_view, self._controls.realise, self._controls.resume_from, self.copy)
        )

    # ---- replaying

    def action_play(self) -> None:
        """Play or pause a replay."""
        self._play(lambda replay: replay.toggle())

    def action_step(self, by: int) -> None:
        """Back or on by a fiftieth."""
        self._play(lambda replay: replay.step(by / 50))

    def action_speed(self, by: int) -> None:
        """Half or twice the speed."""
        self._play(lambda replay: replay.faster(2.0**by))

    def _play(self, act: Callable[[ReplaySource], None]) -> None:
        if isinstance(self.source, ReplaySource):
            act(self.source)
            self.draw(plots=True)
