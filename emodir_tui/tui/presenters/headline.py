"""Content of the header: state, progress, times and hardware, with an explanation and a next step for unusual states."""

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.style import Style
from rich.text import Text

from emodir_tui.formatting import NOTHING, age, clock, duration, literal, percent, plural, points, size
from emodir_tui.runs.eta import eta_seconds
from emodir_tui.runs.names import StageName, StageState, StatusWord
from emodir_tui.runs.stage import Stage
from emodir_tui.runs.state import Checkpoint, RunState
from emodir_tui.runs.status import NEVER_STARTED
from emodir_tui.tui.drawing.palette import STAGE_GLYPHS, STATUS_GLYPHS, STATUS_WORDS, bar
from emodir_tui.tui.presenters.view import View
from emodir_tui.tui.sources.gpus import Gpu

DISK_LOW_BYTES = 2 << 30
HEART_SECONDS = 4.0
GIBIBYTE = 1 << 30


def headline(view: View, width: int) -> tuple[Text, Text]:
    """Return the two lines of the header."""
    return _first(view, width), _second(view, width)


def status_line(view: View) -> str:
    """Return the state in one short line, for a window that is too small for the panels."""
    word = STATUS_WORDS.get(view.word, view.word)
    return f"{STATUS_GLYPHS.get(view.word, '?')} {word} {percent(view.state.progress, 0)} {literal(view.run_id)}"


def places(state: RunState) -> list[str]:
    """Where the run is, from the longest wording to the shortest."""
    stage = state.stage
    if stage is None:
        return ["before the first stage"]
    place = stage.name.numbered
    full = f"{place}{_step(stage, state)}"
    if not stage.steps or stage.state != StageState.RUNNING:
        return [full, place]
    step, part = f"{place} {stage.step}/{stage.steps}", literal(stage.part, 20)
    note = f" · {literal(stage.note, 40)}" if stage.note else ""
    return [full, f"{step}{note}", f"{step} {part}".rstrip(), step]


def _first(view: View, width: int) -> Text:
    palette, word, narrow = view.palette, view.word, width < 100
    line = Text(no_wrap=True, end="")
    if not narrow:
        line.append("emodir ", palette.dim)
    line.append(literal(view.run_id, 60), palette.strong)
    line.append(f" {STATUS_GLYPHS.get(word, '?')} {STATUS_WORDS.get(word, word)} ", palette.status(word))
    for badge in _badges(view):
        line.append(f"[{badge}]", palette.warn + palette.strong)
        line.append(" ")
    explanation = _explanation(view)
    wordings = [explanation] if explanation else places(view.state)
    what, right = _longest_that_fit(wordings, _times(view, short=narrow), width - line.cell_len)
    line.append(what)
    if right:
        line.append(" " * (width - line.cell_len - len(right)))
        line.append(right)
    line.truncate(width)
    return line


def _longest_that_fit(wordings: Sequence[str], times: Sequence[str], room: int) -> tuple[str, str]:
    """Return the longest wording and times that fit; the times are shortened first."""
    pairs = [*((what, times[0]) for what in wordings), *((wordings[-1], right) for right in (*times[1:], ""))]
    for what, right in pairs:
        if cell_len(what) + (len(right) + 2 if right else 0) <= room:
            return what, right
    return _cut(wordings[-1], room), ""


def _second(view: View, width: int) -> Text:
    palette = view.palette
    line = Text(no_wrap=True, end="")
    if (next_step := _next_step(view, width)) and view.playback is None:
        style = None if view.word == StatusWord.FINISHED else palette.status(view.word) + Style(bold=False)
        line.append(_cut(next_step, width), palette.warn if view.stalled_seconds else style)
        return line
    right = Text.assemble(*_hardware(view, width))
    line.append_text(_stage_track(view, max(10, width - right.cell_len - 1)))
    if width - line.cell_len - right.cell_len >= 1:
        line.append(" " * (width - line.cell_len - right.cell_len))
        line.append_text(right)
    line.truncate(width)
    return line


def _explanation(view: View) -> str:
    """Explain an unusual state; empty for the usual ones."""
    state, status = view.state, view.status
    if view.playback is not None:
        play = view.playback
        doing = "" if play.playing else "paused at "
        return f"{doing}{duration(play.position)} / {duration(play.length)} at ×{play.speed:g}"
    paused = f"since {clock(since, seconds=False)} · " if (since := state.condition_since) is not None else ""
    explanations: dict[str, str] = {
        StatusWord.STARTING: f"{literal(status.reason, 200)}" if status.reason else "the worker is loading",
        StatusWord.PAUSED: f"{paused}memory is kept",
        StatusWord.STOPPING: "saving a checkpoint, then exiting",
        StatusWord.NO_PROGRESS: f"for {duration(status.seconds_without_progress)} · the worker is alive in {places(state)[0]}",
        StatusWord.UNSURE: literal(status.reason, 200),
        StatusWord.LOST: _lost(view),
        StatusWord.FAILED: literal(state.error or status.reason, 400),
        StatusWord.STOPPED: f"at {percent(state.progress, 0)} in {places(state)[0]}",
        StatusWord.FINISHED: _result(state),
    }
    return explanations.get(view.word, "")


def _next_step(view: View, width: int) -> str:
    """Return the next step in an unusual state; empty for the usual ones."""
    state, status = view.state, view.status
    newest = max(state.checkpoints.values(), key=lambda item: item.saved, default=None)
    again = f"r resume{f' from {literal(newest.id)}' if newest else ''}"
    if view.read_only and view.word in (StatusWord.LOST, StatusWord.FAILED, StatusWord.STOPPED):
        again = "read-only"
    if view.stalled_seconds:
        return f"the run directory has not answered for {duration(view.stalled_seconds)} · does its file system hang?"
    # A long hint is cut to leave room for the next step.
    hint = _cut(literal(state.hint, 300), width - len(f" · {again} · l worker's log"))
    steps: dict[str, str] = {
        StatusWord.PAUSED: "p continues · x saves and stops · a run can stay paused for days",
        StatusWord.NO_PROGRESS: f"a long step or a hang? · l worker's log · kill -QUIT {state.pid} adds a stack trace",
        StatusWord.UNSURE: "l worker's log · without a heartbeat the run soon counts as lost and can be resumed",
        StatusWord.LOST: f"{_lost_work(state, newest)} · {again} · l worker's log",
        StatusWord.FAILED: f"{hint + ' · ' if hint else ''}{again} · l worker's log",
        StatusWord.STOPPED: f"{again} · emodir resume {literal(view.run_id)}",
        StatusWord.FINISHED: f"{_picks(state)} · emodir export {literal(view.run_id)} --pick {_best(state)} · emodir show {literal(view.run_id)}",
    }
    if view.word == StatusWord.STARTING and status.reason and state.opened is None:
        return "l worker's log"
    return steps.get(view.word, "")


def _lost(view: View) -> str:
    state = view.state
    since = f"{age(view.now - state.updated)} ago · " if state.updated is not None else ""
    causes = "" if view.status.reason == NEVER_STARTED else " (killed, out of memory, or a reboot?)"
    return f"{since}{literal(view.status.reason, 200)}{causes}"


def _lost_work(state: RunState, newest: Checkpoint | None) -> str:
    if newest is None or state.updated is None:
        return "no checkpoint within this stage; finished parts are kept"
    again = max(0.0, state.updated - newest.saved)
    return f"lost since {literal(newest.id)}: at most {duration(again)}"


def _result(state: RunState) -> str:
    best = state.best_pick
    if best is None:
        missed = "no pick satisfies its rule · " if state.picks else ""
        return f"{missed}after {duration(state.elapsed_seconds(state.updated or 0.0))}"
    original = state.baseline.accuracy if state.baseline is not None else None
    change = points(best.accuracy - original) if best.accuracy is not None and original is not None else ""
    unit, kept = state.complexity.unit, best.complexity_kept
    if best.macs_kept is not None:
        unit, kept = "MACs", best.macs_kept
    words = [
        f"{literal(best.name, 40)}: accuracy {percent(best.accuracy, 2)}" + (f" ({change})" if change else ""),
        f"{unit} {points(kept - 1, 1)} %",
        f"parameters {points(best.params_kept - 1, 1)} %" if best.params_kept is not None else "",
    ]
    return " · ".join(word for word in words if word)


def _picks(state: RunState) -> str:
    return plural(len(state.picks), "pick") if state.picks else "no pick"


def _best(state: RunState) -> str:
    best = state.best_pick or next(iter(state.picks.values()), None)
    return literal(best.name, 40) if best is not None else "knee"


def _step(stage: Stage, state: RunState) -> str:
    if stage.state != StageState.RUNNING:
        return ""
    running = [item for item in state.subnetworks.values() if item.state == StageState.RUNNING]
    # Between two generations the stage's own note says more.
    if stage.name == StageName.SEARCH and running and stage.note == running[-1].name:
        item = running[-1]
        return f" · {literal(item.name)} generation {item.generation}/{item.generations}"
    if not stage.steps:
        return ""
    # The steps count the stage; the note names the part in progress.
    note = f" · {literal(stage.note, 40)}" if stage.note else ""
    return f" · {literal(stage.unit, 20)} {stage.step}/{stage.steps}{note}"


def _times(view: View, *, short: bool) -> tuple[str, ...]:
    """Return elapsed and expected times, from the longest wording to the shortest."""
    state, word = view.state, view.word
    if word == StatusWord.STARTING and state.opened is None:
        return ("",)
    ended = state.condition_since if word == StatusWord.PAUSED else state.updated
    # The clock of a run that does not advance stands still.
    still = (
        word in (StatusWord.PAUSED, StatusWord.LOST, StatusWord.FINISHED, StatusWord.FAILED, StatusWord.STOPPED)
        and ended is not None
    )
    elapsed = duration(state.elapsed_seconds(ended if still and ended is not None else view.now))
    elapsed = elapsed if short else f"elapsed {elapsed}"
    eta = eta_seconds(state, view.status.word, view.now)
    if eta is None:
        estimating = word in (StatusWord.RUNNING, "replay") and state.outcome is None
        return (f"{elapsed}{' ' if short else '  '}ETA {NOTHING}", elapsed) if estimating else (elapsed,)
    expected = f"{elapsed}{' ' if short else '  '}ETA ~{duration(eta)}"
    return f"{expected} ({clock(view.now + eta, seconds=False)})", expected, elapsed


def _badges(view: View) -> list[str]:
    badges = []
    if view.frozen:
        badges.append("frozen")
    if view.read_only:
        badges.append("read-only")
    if not view.caught_up:
        badges.append("reading…")
    if view.disk_free is not None and view.disk_free < DISK_LOW_BYTES and view.status.is_live:
        badges.append(f"disk low: {size(view.disk_free)}")
    if damaged := view.damaged + view.state.damaged:
        badges.append(f"{plural(damaged, 'damaged event')}")
    if view.dropped:
        badges.append(f"{plural(view.dropped, 'event')} dropped")
    return badges


def _stage_track(view: View, width: int) -> Text:
    """Return the stages with their marks and the progress of the run, shortened to the width."""
    full = _stages(view, names=True)
    return full if full.cell_len <= width else _stages(view, names=False, cells=max(4, min(18, width - 24)))


def _stages(view: View, *, names: bool, cells: int = 12) -> Text:
    palette, state = view.palette, view.state
    text = Text(no_wrap=True, end="")
    current = state.stage
    styles: dict[str, Style] = {
        StageState.DONE: palette.good,
        StageState.RUNNING: palette.accent + palette.strong,
        StageState.WAITING: palette.dim,
    }
    for stage in state.stages.values():
        is_current = current is not None and stage.name == current.name
        text.append(STAGE_GLYPHS[stage.state], styles[stage.state])
        if names or is_current:
            text.append(stage.name, styles[stage.state])
        if is_current:
            text.append(f" {bar(state.progress, cells)} {percent(state.progress, 0)}", palette.accent)
        if names or is_current:
            text.append(" ")
    if current is None:
        text.append(f" {bar(0.0, cells)} {percent(0.0, 0)}", palette.dim)
    text.rstrip()
    return text


def _hardware(view: View, width: int) -> list[tuple[str, Style]]:
    palette, state = view.palette, view.state
    short = width < 100
    parts: list[tuple[str, Style]] = []
    for gpu in view.gpus[: 1 if short else 2]:
        parts.append((f"{_gpu(gpu, short=short)} │ ", palette.dim))
    if not short and len(view.gpus) > 2:
        parts.append((f"+{len(view.gpus) - 2} GPUs │ ", palette.dim))
    if not view.gpus and state.device and not short:
        parts.append((f"{literal(state.device, 20)} │ ", palette.dim))
    host = literal(state.host, 24)
    parts.append((host if short else f"{host} pid {state.pid} " if state.pid else "", palette.dim))
    if view.status.is_live and view.playback is None:
        since = view.status.seconds_since_heartbeat
        late = since is not None and since >= HEART_SECONDS
        parts.append((f" ♥ {since:.0f} s" if late else " ♥", palette.warn if late else palette.good))
    return parts


def _gpu(gpu: Gpu, *, short: bool) -> str:
    memory = f"{gpu.memory_used / GIBIBYTE:.0f}/{gpu.memory_total / GIBIBYTE:.0f}G"
    words = gpu.name.removeprefix("NVIDIA ").split()
    name = "" if short or not words else f" {literal(words[0], 12)}"
    return f"GPU{gpu.index}{name} {gpu.utilisation} % {memory} {gpu.temperature}°C"


def _cut(text: str, width: int) -> str:
    """Cut a text to the width, between two words unless that would leave less than half."""
    if cell_len(text) <= width:
        return text
    if width <= 0:
        return ""
    kept = set_cell_size(text, width - 1)
    words = kept if text[len(kept) :].startswith(" ") else kept.rpartition(" ")[0]
    return (words if 2 * cell_len(words) >= width else kept).rstrip(" ·(,") + "…"
