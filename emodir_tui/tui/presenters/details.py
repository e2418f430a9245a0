"""Content of the details screen for a sub-network, member, ranking row, scheme, checkpoint or log line."""

import shlex
from dataclasses import dataclass

from rich.style import Style
from rich.text import Text

from emodir_tui.formatting import (
    NOTHING,
    clock,
    count,
    literal,
    literal_lines,
    milliseconds,
    number,
    percent,
    plural,
    points,
    size,
)
from emodir_tui.runs.event_types import Group, Member, Scheme
from emodir_tui.runs.names import Complexity
from emodir_tui.runs.state import Checkpoint, Pick, RankingRow, RunState, Subnetwork
from emodir_tui.tui.drawing.cells import fit
from emodir_tui.tui.drawing.palette import CHANNEL_GONE, CHANNEL_KEPT, Palette, bar
from emodir_tui.tui.presenters.references import Reference
from emodir_tui.tui.presenters.view import View

BAR_CELLS = 24
LINKS_SHOWN = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A link to another item."""

    target: Reference
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Detail:
    """The content of the details screen: title, text, links and possible actions."""

    title: str
    body: Text
    links: tuple[Link, ...] = ()
    scheme: int | None = None
    checkpoint: str | None = None
    command: str = ""
    links_title: str = ""


def describe(view: View, reference: Reference) -> Detail:
    """Describe an item in the current state."""
    state = view.state
    if reference.kind == "subnetwork" and (item := state.subnetworks.get(reference.name)):
        return _subnetwork(view, item)
    if reference.kind == "member" and (member := _find_member(state, reference.name, reference.number)):
        return _member(view, state.subnetworks[reference.name], member)
    if reference.kind == "row" and (row := state.ranking.get(reference.number)):
        return _row(view, row)
    if reference.kind == "scheme" and (scheme := _find_scheme(state, reference.number)):
        return _scheme(view, scheme)
    if reference.kind == "checkpoint" and (checkpoint := state.checkpoints.get(reference.name)):
        return _checkpoint(view, checkpoint)
    if reference.kind == "line":
        return Detail(title="Log", body=Text(literal_lines(reference.name, 12_000)), command=reference.name[:500])
    return Detail(
        title="Not found", body=Text("No longer part of this run: the run went back to an earlier checkpoint.")
    )


def _subnetwork(view: View, item: Subnetwork) -> Detail:
    facts = [
        ("layers", ", ".join(literal(layer) for layer in item.layers) or NOTHING),
        ("MACs", f"{count(item.macs)} ({percent(item.share, 0)} of the network)"),
        ("channels", f"{item.channels} prunable in {plural(len(item.groups), 'group')}"),
        (
            "search",
            f"{item.state}, generation {item.generation}/{item.generations}"
            + (f", round {item.round}" if item.round > 1 else ""),
        ),
        ("hypervolume", _hypervolume(item)),
        ("front", plural(item.front_size, "member")),
        ("evaluations", f"{item.evaluations}"),
    ]
    body = _facts(facts, view.palette)
    body.append("\nchannel groups\n", view.palette.strong)
    for group in item.groups:
        body.append(f"  {fit(literal(group.name), 34)} {group.channels:>5} channels  {literal(group.kind)}\n")
    links = tuple(
        Link(target=Reference(kind="member", name=item.name, number=member.member), label=_member_label(member))
        for member in item.members
    )
    title = f"Sub-network {literal(item.name)}"
    return Detail(title=title, body=body, links=links, links_title="front members")


def _hypervolume(item: Subnetwork) -> str:
    trained = item.hypervolume_trained
    again = f" · {number(trained)} measured again with the trained weights" if trained is not None else ""
    return f"{number(item.hypervolume)}{again}"


def _member_label(member: Member) -> str:
    return f"member {member.member:>3}  kept {percent(member.complexity_kept):>7}  local impairment {number(member.impairment)}"


def _member(view: View, item: Subnetwork, member: Member) -> Detail:
    state = view.state
    row = next(
        (row for row in state.ranking.values() if (row.subnetwork, row.member) == (item.name, member.member)), None
    )
    facts = [
        ("sub-network", literal(item.name)),
        ("kept", f"{percent(member.complexity_kept)} of its {state.complexity.unit}"),
        ("local impairment", number(member.impairment)),
    ]
    if row is not None:
        facts += _row_facts(state, row)
    body = _facts(facts, view.palette)
    body.append("\nchannels kept\n", view.palette.strong)
    body.append_text(_bars(item.groups, member.kept, view.palette))
    links = [Link(target=Reference(kind="subnetwork", name=item.name), label=f"sub-network {literal(item.name)}")]
    links += _scheme_links(state, item.name, member.member)
    title = f"Member {member.member} of {literal(item.name)}"
    return Detail(title=title, body=body, links=tuple(links[:LINKS_SHOWN]), links_title="related")


def _bars(groups: tuple[Group, ...], kept: tuple[int, ...], palette: Palette) -> Text:
    text = Text()
    for group, channels in zip(groups, kept, strict=False):
        share = channels / group.channels if group.channels else 0.0
        style = palette.good if share >= 0.5 else palette.warn if share > 0 else palette.bad
        text.append(f"  {fit(literal(group.name), 26)} ")
        text.append(bar(share, BAR_CELLS, CHANNEL_KEPT, CHANNEL_GONE), style)
        text.append(f" {channels:>4}/{group.channels:<4} {percent(share, 0):>5}\n")
    return text if kept else Text("  not known\n", palette.dim)


def _row(view: View, row: RankingRow) -> Detail:
    facts = [
        ("rank", f"{row.rank} of {len(view.state.ranking)}"),
        ("sub-network", literal(row.subnetwork)),
        ("member", str(row.member)),
        *_row_facts(view.state, row),
    ]
    body = _facts(facts, view.palette)
    item = view.state.subnetworks.get(row.subnetwork)
    member = _find_member(view.state, row.subnetwork, row.member)
    links = []
    if item is not None:
        if member is not None:
            body.append("\nchannels kept\n", view.palette.strong)
            body.append_text(_bars(item.groups, member.kept, view.palette))
            member_reference = Reference(kind="member", name=item.name, number=row.member)
            links.append(Link(target=member_reference, label=f"member {row.member} of {literal(item.name)}"))
        links.append(
            Link(target=Reference(kind="subnetwork", name=item.name), label=f"sub-network {literal(item.name)}")
        )
    links += _scheme_links(view.state, row.subnetwork, row.member)
    return Detail(title=f"Rank {row.rank}", body=body, links=tuple(links[:LINKS_SHOWN]), links_title="related")


def _row_facts(state: RunState, row: RankingRow) -> list[tuple[str, str]]:
    return [
        ("level", f"{row.level}" + (" (on the merged front)" if row.level == 0 else "")),
        ("whole network kept", f"{percent(row.complexity_kept)} of the {state.complexity.unit}"),
        ("local impairment", number(row.local_impairment)),
        ("global impairment", number(row.global_impairment)),
        ("price", f"{number(row.price)} global impairment per share saved"),
        ("accuracy change", f"{points(row.accuracy_change)} points when placed alone, on the search split"),
        ("KL of the logits", number(row.kl)),
        ("used in", plural(row.joint_uses, "joint scheme")),
    ]


def _scheme(view: View, scheme: Scheme) -> Detail:
    state = view.state
    pick = next((pick for pick in state.picks.values() if pick.scheme == scheme.scheme), None)
    facts = [
        ("kept", _kept(state, scheme.complexity_kept)),
        ("impairment", number(scheme.impairment)),
        ("expected accuracy", f"{percent(scheme.accuracy, 2)} before fine-tuning, on the search split"),
    ]
    if pick is not None:
        facts += _pick_facts(state, pick)
    body = _facts(facts, view.palette)
    changed = f"nearest members; polishing changed {plural(scheme.changed, 'gene')} of them"
    body.append(f"\n{changed if scheme.changed else 'its members'}\n", view.palette.strong)
    links = []
    for name, position in zip(state.subnetworks, scheme.members, strict=False):
        member = _find_member(state, name, position)
        share = member.complexity_kept if member is not None else None
        kept_bar = bar(share, BAR_CELLS, CHANNEL_KEPT, CHANNEL_GONE) if share is not None else ""
        body.append(f"  {fit(literal(name), 6)} ")
        body.append(kept_bar, Style(color=view.palette.colour(list(state.subnetworks).index(name))))
        body.append(f" {percent(share) if share is not None else 'unpruned':>7} kept  member {position}\n")
        if member is not None:
            links.append(
                Link(
                    target=Reference(kind="member", name=name, number=position),
                    label=f"member {position} of {literal(name)}",
                )
            )
    title = f"Joint scheme {scheme.scheme}" + (f" · pick {literal(pick.name, 40)}" if pick is not None else "")
    command = shlex.join(["emodir", "export", view.run_id, "--pick", pick.name]) if pick is not None else ""
    return Detail(
        title=title,
        body=body,
        links=tuple(links),
        scheme=None if pick is not None else scheme.scheme,
        command=command,
        links_title="related",
    )


def _kept(state: RunState, share: float) -> str:
    """A share of the searched complexity, and the number where the original network's is known."""
    totals = (
        {}
        if state.baseline is None
        else {Complexity.MACS: state.baseline.macs, Complexity.PARAMS: state.baseline.params}
    )
    total = totals.get(state.complexity)
    numbers = f": {count(total * share)} of {count(total)}" if total else ""
    return f"{percent(share)} of the {state.complexity.unit}{numbers}"


def _pick_facts(state: RunState, pick: Pick) -> list[tuple[str, str]]:
    original = state.baseline.accuracy if state.baseline is not None else None
    change = (
        f" ({points(pick.accuracy - original)} points)" if pick.accuracy is not None and original is not None else ""
    )
    latency = (
        f"{milliseconds(pick.latency_ms)} of {milliseconds(pick.baseline_latency_ms)}"
        if pick.latency_ms is not None
        else NOTHING
    )
    return [
        ("pick", f"{literal(pick.name, 40)}, by rule {literal(pick.rule, 40)}"),
        ("MACs, parameters", f"{percent(pick.macs_kept)}, {percent(pick.params_kept)} kept"),
        (
            "accuracy",
            f"{percent(pick.accuracy_recalibrated, 2)} recalibrated, {percent(pick.accuracy, 2)} fine-tuned{change}",
        ),
        ("latency", latency),
        ("removal check", f"largest difference {number(pick.removal_max_difference)}"),
        ("file", literal(pick.file, 200) if pick.file else NOTHING),
    ]


def _checkpoint(view: View, item: Checkpoint) -> Detail:
    facts = [
        ("stage", literal(item.stage) + (f", {literal(item.subnetwork)}" if item.subnetwork else "")),
        ("step", str(item.generation)),
        ("saved", f"{clock(item.saved)} ({literal(item.reason)})"),
        ("size", size(item.bytes)),
    ]
    body = _facts(facts, view.palette)
    if item.damaged:
        body.append("\nDamaged: resuming skips it.\n", view.palette.bad)
    newest = max(view.state.checkpoints.values(), key=lambda other: other.saved)
    if newest.id != item.id:
        body.append("\nResuming from it sets later results aside; nothing is deleted.\n", view.palette.dim)
    return Detail(
        title=f"Checkpoint {literal(item.id)}",
        body=body,
        checkpoint=item.id,
        command=shlex.join(["emodir", "resume", view.run_id, "--from", item.id]),
    )


def _facts(facts: list[tuple[str, str]], palette: Palette) -> Text:
    text = Text()
    for name, value in facts:
        text.append(f"{name:<20}", palette.dim)
        text.append(value + "\n")
    return text


def _scheme_links(state: RunState, name: str, member: int) -> list[Link]:
    if name not in state.subnetworks:
        return []
    position = list(state.subnetworks).index(name)
    return [
        Link(target=Reference(kind="scheme", number=scheme.scheme), label=_scheme_label(scheme))
        for scheme in state.joint.schemes
        if position < len(scheme.members) and scheme.members[position] == member
    ]


def _scheme_label(scheme: Scheme) -> str:
    scheme_kept = f"joint scheme {scheme.scheme:>3}  kept {percent(scheme.complexity_kept):>7}"
    return f"{scheme_kept}  impairment {number(scheme.impairment)}  accuracy {percent(scheme.accuracy)}"


def _find_member(state: RunState, name: str, number_of: int) -> Member | None:
    item = state.subnetworks.get(name)
    if item is None:
        return None
    return next((member for member in item.members if member.member == number_of), None)


def _find_scheme(state: RunState, number_of: int) -> Scheme | None:
    return next((scheme for scheme in state.joint.schemes if scheme.scheme == number_of), None)
