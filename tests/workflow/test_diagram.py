"""Pictures of workflows: what is drawn, that it is safe, and that it never moves."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from mcpuppet.workflow import diagram_engine
from mcpuppet.workflow.definition import WorkflowDefinition
from mcpuppet.workflow.diagram import LiveState, RenderError, Theme, draw, picture, to_dot
from mcpuppet.workflow.diagram_chart import Chart
from mcpuppet.workflow.diagram_graph import chart_of
from mcpuppet.workflow.diagram_policies import policies_of, policy_words, subject_of
from mcpuppet.workflow.diagram_words import readable
from mcpuppet.workflow.expression import parse_expression
from mcpuppet.workflow.parser import parse_workflow

HEAD = "mcpuppet: 1\nworkflow: sample\nversion: 1.0.0\n"
SVG = "{http://www.w3.org/2000/svg}"

PAYMENT = """
roles: [agent, finance]
inputs: {amount: {type: number}}
steps:
  score:
    tool: bank.score
    returns: {risk: {type: number}}
  reject: {tool: bank.reject, needs: score, when: steps.score.result.risk >= 0.8}
  approve:
    needs: score
    when: steps.score.result.risk < 0.8
    approval: {roles: [finance], quorum: 2, timeout: 4h, binds: [inputs.amount]}
  pay:
    tool: bank.pay
    needs: approve
    compensate: {tool: bank.pay_back}
  audit:
    tool: ledger.write
    needs: {pay: [success, failure], reject: success, join: any}
policies:
  - {id: once, call: pay, at_most: 1, per: run}
"""


def defined(body: str) -> WorkflowDefinition:
    parsed = parse_workflow(HEAD + body, "sample.yaml")
    assert parsed.definition is not None, [str(one) for one in parsed.findings]
    return parsed.definition


def lines(chart: Chart) -> set[tuple[str, str, str]]:
    return {(edge.tail, edge.head, edge.label) for edge in chart.edges}


def groups_by_id(svg: bytes) -> dict[str, ET.Element]:
    # The text is our own renderer's; no foreign XML is read here.
    return {
        one.attrib["id"]: one for one in ET.fromstring(svg).iter(f"{SVG}g") if "id" in one.attrib
    }


def words_of(svg: bytes, node: str) -> list[str]:
    return [one.text or "" for one in groups_by_id(svg)[node].iter(f"{SVG}text")]


def outlines(svg: bytes) -> dict[str, list[str]]:
    """For each shape, the coordinates of its outline and of its words."""
    return {
        node: [
            one.attrib.get("points") or one.attrib.get("d") or f"{one.attrib.get('cx')}"
            for one in group.iter()
            if one.tag in (f"{SVG}polygon", f"{SVG}path", f"{SVG}ellipse")
        ]
        for node, group in groups_by_id(svg).items()
        if (group.attrib.get("class") or "").startswith(("node", "cluster"))
    }


def top_of(svg: bytes, node: str) -> float:
    """The y coordinate of a shape's first word; it grows downwards."""
    return float(next(groups_by_id(svg)[node].iter(f"{SVG}text")).attrib["y"])


def test_every_need_of_a_workflow_is_a_line() -> None:
    assert lines(chart_of(defined(PAYMENT))) == {
        ("start", "step-score", ""),
        ("step-score", "guard-reject", ""),
        ("guard-reject", "step-reject", "risk ≥ 0.8"),
        ("guard-reject", "step-approve", "risk < 0.8"),
        ("step-approve", "step-pay", "approved"),
        ("step-approve", "end-rejected", "rejected"),
        ("step-approve", "end-rejected", "timeout 4 h"),
        ("step-pay", "step-audit", "success or failure"),
        ("step-reject", "step-audit", ""),
        ("step-audit", "end-completed", ""),
        ("step-pay", "undo-pay", "if the run fails"),
        ("undo-pay", "end-failed", ""),
    }


def test_every_line_of_the_chart_is_drawn_between_its_shapes() -> None:
    definition = defined(PAYMENT)
    drawn = {one.rpartition("--")[0] for one in groups_by_id(picture(definition, "svg"))}
    for edge in chart_of(definition).edges:
        assert f"edge-{edge.tail}--{edge.head}--{edge.kind}" in drawn


def test_a_need_on_skipped_is_the_other_way_out_of_the_diamond() -> None:
    chart = chart_of(
        defined("""
steps:
  look: {tool: a.look, returns: {hits: {type: integer}}}
  clean: {tool: a.clean, needs: look, when: steps.look.result.hits > 0}
  go: {tool: a.go, needs: {look: success, clean: [success, skipped]}}
""")
    )
    assert {line for line in lines(chart) if line[1] == "step-go"} == {
        ("guard-clean", "step-go", "otherwise"),
        ("step-clean", "step-go", ""),
    }


def test_steps_that_start_and_are_awaited_together_are_one_group() -> None:
    definition = defined("""
steps:
  first: {tool: a.first}
  left: {tool: a.left, needs: first}
  right: {tool: a.right, needs: first}
  last: {tool: a.last, needs: [left, right]}
policies:
  - {id: alone, call: [left, right], mutex: true}
""")
    chart = chart_of(definition)
    (group,) = chart.groups
    assert group.members == ("left", "right")
    assert group.mutex is definition.policies[0]
    assert ("step-first", "group-left", "") in lines(chart)
    assert ("group-left", "step-last", "all done") in lines(chart)
    svg = draw(to_dot(definition), "svg")
    assert "any order, \N{SECTION SIGN} one at a time" in words_of(svg, "group-left")


def test_steps_awaited_by_different_steps_are_not_grouped() -> None:
    chart = chart_of(
        defined("""
steps:
  left: {tool: a.left}
  right: {tool: a.right}
  last: {tool: a.last, needs: [left]}
""")
    )
    assert chart.groups == ()


def test_rework_leads_back_to_the_first_step_that_is_done_again() -> None:
    definition = defined("""
steps:
  check: {tool: a.check, needs: collect, on: {failure: {redo: [check, collect], max: 2}}}
  collect: {tool: a.collect}
""")
    assert ("step-check", "step-collect", "failure: redo ≤ 2") in lines(chart_of(definition))
    svg = draw(to_dot(definition), "svg")
    assert top_of(svg, "step-collect") < top_of(svg, "step-check")


def test_a_handled_rejection_does_not_lead_to_the_rejected_end() -> None:
    chart = chart_of(
        defined("""
roles: [boss]
steps:
  ask: {approval: {roles: [boss], timeout: 1h}}
  yes: {tool: a.yes, needs: ask}
  no: {tool: a.no, needs: {ask: rejected}}
""")
    )
    assert [end.kind for end in chart.ends] == ["completed", "failed"]
    assert ("step-ask", "step-no", "rejected") in lines(chart)


def test_shapes_carry_stable_ids_and_classes() -> None:
    live = LiveState({"score": "done", "approve": "awaiting_approval"})
    groups = groups_by_id(draw(to_dot(defined(PAYMENT), live=live), "svg"))
    assert groups["step-score"].attrib["class"] == "node kind-tool state-done"
    assert groups["step-approve"].attrib["class"] == "node kind-approval state-awaiting-approval"
    assert groups["guard-reject"].attrib["class"] == "node kind-guard state-done"
    assert groups["undo-pay"].attrib["class"] == "node kind-undo state-pending"
    assert groups["end-completed"].attrib["class"] == "node kind-end state-pending"


def test_a_state_is_written_in_words_and_not_only_in_colour() -> None:
    live = LiveState(
        {
            "score": "done",
            "approve": "awaiting approval",
            "reject": "skipped",
            "undo-pay": "running",
        },
        refused={"pay": 2},
    )
    svg = draw(to_dot(defined(PAYMENT), live=live), "svg")
    assert words_of(svg, "step-score")[0] == "DONE"
    assert words_of(svg, "step-approve")[0] == "AWAITING APPROVAL"
    assert words_of(svg, "step-reject")[0] == "SKIPPED"
    assert words_of(svg, "step-pay")[0] == "REFUSED \N{MULTIPLICATION SIGN}2"
    assert words_of(svg, "undo-pay")[0] == "UNDO · RUNNING"


@pytest.mark.parametrize(
    "live",
    [
        LiveState(),
        LiveState({"score": "legal"}),
        LiveState({"score": "done", "approve": "awaiting approval"}, {"pay": 12}),
        LiveState({"score": "done", "approve": "rejected"}, end="rejected"),
        LiveState({"score": "failed"}, end="cancelled"),
        LiveState(dict.fromkeys(["score", "approve", "pay", "audit"], "done"), end="completed"),
    ],
)
def test_live_state_moves_nothing(live: LiveState) -> None:
    definition = defined(PAYMENT)
    still = draw(to_dot(definition, live=LiveState()), "svg")
    moving = draw(to_dot(definition, live=live), "svg")
    assert outlines(still) == outlines(moving)
    assert outlines(still)["step-pay"]


def test_the_lines_a_run_took_are_marked() -> None:
    live = LiveState({"score": "done", "approve": "legal", "reject": "skipped"})
    svg = draw(to_dot(defined(PAYMENT), live=live), "svg")
    groups = groups_by_id(svg).items()
    taken = {node for node, group in groups if "taken" in group.attrib.get("class", "")}
    assert taken == {
        "edge-start--step-score--success--start",
        "edge-step-score--guard-reject--success--score",
        "edge-guard-reject--step-approve--success--start",
    }


@pytest.mark.parametrize(
    ("end", "shape", "word"),
    [
        ("completed", "end-completed", "COMPLETED"),
        ("rejected", "end-rejected", "REJECTED"),
        ("cancelled", "end-failed", "CANCELLED"),
    ],
)
def test_the_end_a_run_reached_says_so(end: str, shape: str, word: str) -> None:
    svg = draw(to_dot(defined(PAYMENT), live=LiveState(end=end)), "svg")
    others = {"end-completed", "end-rejected", "end-failed"} - {shape}
    assert words_of(svg, shape)[0] == word
    assert {words_of(svg, other)[0] for other in others} == {"PENDING"}


@pytest.mark.parametrize(
    "title",
    [
        '<script>alert("x")</script>',
        "</TD></TR></TABLE>> evil [label=x]",
        r"\N \G \L \\ ends with \ "[:-1],
        "R&D &lt; &#60; 'quoted' \"twice\"",
        "a;}digraph{b",
    ],
)
def test_foreign_text_is_shown_as_it_is_and_never_as_markup(title: str) -> None:
    definition = defined("steps:\n  only: {tool: a.b}\n")
    step = definition.steps["only"].model_copy(update={"title": title, "description": title})
    named = definition.model_copy(update={"steps": {"only": step}, "title": title})
    svg = picture(named, "svg", theme="auto")
    assert b"<script" not in svg
    shown = "".join(words_of(svg, "step-only")[1:-1])
    assert shown.replace(" ", "") == title.replace(" ", "")
    tooltip = groups_by_id(svg)["step-only"].find(f"{SVG}title")
    assert tooltip is not None
    assert title.replace("\\", "\N{REVERSE SOLIDUS OPERATOR}") in (tooltip.text or "")


def test_control_characters_cannot_spoil_the_picture() -> None:
    definition = defined("steps:\n  only: {tool: a.b}\n")
    step = definition.steps["only"].model_copy(update={"title": "a\x00b\x1bc\u202ed\ud800e"})
    svg = draw(to_dot(definition.model_copy(update={"steps": {"only": step}})), "svg")
    assert words_of(svg, "step-only")[1] == "a\ufffdb\ufffdc\ufffdd\ufffde"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_same_workflow_gives_the_same_bytes_in_another_process(theme: Theme) -> None:
    program = (
        "import sys; from mcpuppet.workflow.parser import parse_workflow;"
        "from mcpuppet.workflow.diagram import to_dot;"
        "d = parse_workflow(sys.stdin.read(), 'x').definition;"
        f"sys.stdout.buffer.write(to_dot(d, theme={theme!r}).encode())"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            input=(HEAD + PAYMENT).encode(),
            capture_output=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert texts == {to_dot(defined(PAYMENT), theme=theme).encode()}


@pytest.mark.parametrize("format", ["svg", "png"])
def test_a_picture_is_drawn_without_anything_on_the_path(
    format: diagram_engine.Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    dot = to_dot(defined(PAYMENT))
    before = draw(dot, format)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert draw(dot, format) == before
    assert before.startswith(b"<?xml" if format == "svg" else b"\x89PNG")


def test_without_the_bundled_renderer_the_systems_dot_draws(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundled = diagram_engine.find_engine()
    (tmp_path / "dot").symlink_to(bundled)
    monkeypatch.setattr(diagram_engine, "_BUNDLED", "no-such-distribution")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert diagram_engine.find_engine() == tmp_path / "dot"


def test_without_any_renderer_the_error_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(diagram_engine, "_bundled_engine", lambda: None)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(RenderError, match=r"pip install graphviz-pure.*Graphviz itself"):
        draw("digraph {}", "svg")


def test_text_that_is_not_dot_is_an_error_with_the_renderers_words() -> None:
    with pytest.raises(RenderError, match=r"could not draw: .*syntax error"):
        draw("digraph {", "svg")


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("steps.a.result.score >= 0.8", "score ≥ 0.8"),
        ('steps.a.result.kind == "x >= y && z"', 'kind = "x >= y && z"'),
        ("!(steps.a.result.ok) || steps.a.result.n != 2", "not (ok) or n ≠ 2"),
    ],
)
def test_guards_read_like_a_sentence(source: str, shown: str) -> None:
    assert readable(parse_expression(source), ("steps.a.result.",)) == shown


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("requires: one.success", "needs one.success"),
        ("mutex: true, scope: workflow", "one at a time in any run of the workflow"),
        ("forbidden_after: one.failure", "not after one.failure"),
        ("at_most: 3, per: 1d", "max 3 per day"),
        ("sum: args.amount, at_most: 100000, per: 2d", "total amount ≤ 100000 per 2 d"),
        ("within: 15m, of: [one.success, one.failure]", "within 15 min of one"),
        ("cooldown: 10m", "10 min apart"),
        ('hours: "mon-fri 08:00-18:00 Europe/Rome"', "mon-fri 08:00-18:00 Europe/Rome"),
        ("roles: [agent, boss]", "only agent or boss"),
        ("check: args.amount <= 50000", "amount ≤ 50000"),
    ],
)
def test_every_policy_has_words_on_the_step_it_limits(policy: str, words: str) -> None:
    definition = defined(f"""
steps:
  one: {{tool: a.one}}
  two: {{tool: b.two, needs: one}}
policies:
  - {{id: it, call: "b.*", {policy}}}
""")
    steps = definition.steps
    assert policies_of(definition, subject_of("one", steps["one"])) == ()
    (found,) = policies_of(definition, subject_of("two", steps["two"]))
    assert policy_words(definition, found, "two") == words


def test_only_a_policy_that_names_an_undo_call_is_drawn_on_it() -> None:
    policies = """  - {id: all, call: "bank.*", at_most: 7, per: session}
  - {id: back, call: bank.pay_back, at_most: 9, per: session}
"""
    svg = picture(defined(PAYMENT + policies), "svg")
    undo = " ".join(words_of(svg, "undo-pay"))
    assert "max 9 per session" in undo
    assert "max 7" not in undo
    assert "max 7 per session" in " ".join(words_of(svg, "step-pay"))
