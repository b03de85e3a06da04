"""Formats and themes of pictures, and that hostile text is harmless in every one of them."""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from mcpuppet.workflow.definition import Definition, WorkflowDefinition
from mcpuppet.workflow.diagram import LiveState, PictureFormat, picture, to_dot, to_mermaid
from mcpuppet.workflow.diagram_graph import MANY_LINES, ROW, chart_of
from mcpuppet.workflow.diagram_palette import PALETTES, adapted_colours
from mcpuppet.workflow.parser import parse_workflow

HEAD = "mcpuppet: 1\nworkflow: sample\nversion: 1.0.0\nroles: [boss]\n"
SVG = "{http://www.w3.org/2000/svg}"
SMALL = """
inputs: {amount: {type: number}}
steps:
  end: {tool: a.first, when: inputs.amount > 1}
  boss: {approval: {roles: [boss], timeout: 4h}, needs: end}
  pay: {tool: a.pay, needs: boss, compensate: {tool: a.undo}}
policies:
  - {id: cap, call: pay, check: args.amount <= 5}
"""
RULES = """mcpuppet: 1
rules: assistant
version: 1.0.0
roles: [owner]
tools: {allow: ["bank.get_*", bank.pay], otherwise: ask}
facts:
  payees: {from: bank.list, take: "result.items[].name"}
policies:
  - {id: known, call: bank.pay, check: args.payee in facts.payees}
  - {id: sum, call: bank.pay, sum: args.amount, at_most: 3, per: 1d, over: ask, roles: [owner]}
  - {id: office, call: "bank.*", hours: "mon-fri 08:00-18:00 Europe/Rome"}
"""
EVIL = (
    '"]; click n_start "javascript:alert(1)" %% end',
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "</style></svg></title>--><iframe src=//evil>",
    "end",
    "`**md**` #quot; #35; --> {{ }} | %%{init: {}}%%",
    "]]>&lt;&#0;&bogus;",
    "\x00\x1b[2J\u202e\u2066\ud800\uffff\r\n\t",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u652f\u6255\u3044",
    "w" * 5_000,
    "many words " * 455,
    " ",
)
FORMATS: tuple[PictureFormat, ...] = ("svg", "png", "dot", "mermaid", "html")


def defined(text: str) -> Definition:
    parsed = parse_workflow(text, "sample.yaml")
    assert parsed.definition is not None, [str(one) for one in parsed.findings]
    return parsed.definition


def workflow(body: str) -> WorkflowDefinition:
    definition = defined(HEAD + body)
    assert isinstance(definition, WorkflowDefinition)
    return definition


def evil(text: str) -> WorkflowDefinition:
    """A workflow with this text wherever a file may hold any text, and in a guard."""
    definition = workflow(SMALL)
    steps = {
        name: step.model_copy(update={"title": text, "description": text})
        for name, step in definition.steps.items()
    }
    return definition.model_copy(update={"steps": steps, "title": text, "description": text})


def group(svg: bytes, name: str) -> ET.Element:
    # The text is our own renderer's; no foreign XML is read here.
    return next(one for one in ET.fromstring(svg).iter(f"{SVG}g") if one.attrib.get("id") == name)


def shown(svg: bytes) -> str:
    return " ".join(one.text or "" for one in ET.fromstring(svg).iter(f"{SVG}text"))


class Page(HTMLParser):
    """The tags of a page, and the text of each element named in `texts`."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.styles: list[str] = []
        self.inside = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_data(self, data: str) -> None:
        if self.inside == "style" and data.strip():
            self.styles.append(data)


@pytest.mark.parametrize("text", EVIL)
def test_hostile_text_is_only_text_in_svg(text: str) -> None:
    svg = picture(evil(text), "svg", theme="auto", live=LiveState(caption=(text,)))
    tags = {one.tag.removeprefix(SVG) for one in ET.fromstring(svg).iter()}
    assert tags <= {
        *("svg", "style", "g", "title", "text", "path", "polygon", "polyline", "ellipse"),
    }
    for one in ET.fromstring(svg).iter():
        assert not any(name.startswith("on") or name.endswith("href") for name in one.attrib)


@pytest.mark.parametrize("text", EVIL)
def test_hostile_text_is_only_text_in_a_page(text: str) -> None:
    page = Page(picture(evil(text), "html", live=LiveState(caption=(text,))))
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "iframe", "img", "a", "link", "object"}
    for _, attributes in page.tags:
        assert not any(
            name.startswith("on") or name.endswith(("href", "src")) for name in attributes
        )


@pytest.mark.parametrize("text", EVIL)
def test_hostile_text_is_only_text_in_mermaid(text: str) -> None:
    lines = to_mermaid(evil(text), live=LiveState(caption=(text,))).splitlines()
    outside = [re.sub(r'"[^"]*"', '""', line).strip() for line in lines]
    harmless = re.compile(
        r"flowchart TB|n_\w+([({>\[/]+\"\"[)}\]\\/]+:::\w+| -\.?->(\|\"\"\|)? n_\w+)"
        r"|linkStyle [\d,]+ stroke-dasharray:6 4|classDef \w+ [#\w:,.-]+"
    )
    assert [line for line in outside if not harmless.fullmatch(line)] == []
    for line in lines:
        for label in re.findall(r'"([^"]*)"', line):
            assert re.fullmatch(r"(<br/>|#\d+;|[A-Za-z0-9 .,]|[^\x00-\x7f])*", label)


@pytest.mark.parametrize("text", EVIL)
def test_hostile_text_is_only_text_in_dot_and_png(text: str) -> None:
    assert picture(evil(text), "png").startswith(b"\x89PNG")
    dot = to_dot(evil(text))
    assert "\x00" not in dot
    assert dot.encode()


def test_hostile_guards_stay_words() -> None:
    definition = workflow("""
inputs: {kind: {type: string}}
steps:
  only: {tool: a.b, when: 'inputs.kind == "</title><script>\\"]; end"'}
""")
    for format in ("svg", "html"):
        assert b"<script" not in picture(definition, format)
    assert "<script" not in to_mermaid(definition)


def test_what_is_shortened_is_in_the_tooltip_in_full() -> None:
    long = "a very long sentence about what this step does " * 20
    definition = workflow("steps:\n  only: {tool: a.b}\n")
    steps = {"only": definition.steps["only"].model_copy(update={"title": long})}
    svg = picture(definition.model_copy(update={"steps": steps}), "svg")
    title = group(svg, "step-only").find(f"{SVG}title")
    assert title is not None
    assert long in (title.text or "")
    assert long not in shown(svg)
    assert "…" in shown(svg)


def test_one_light_colour_stands_for_one_dark_colour() -> None:
    adapted = adapted_colours()
    for light, dark in (
        (PALETTES["light"].states, PALETTES["dark"].states),
        (PALETTES["light"].kinds, PALETTES["dark"].kinds),
    ):
        for name, paint in light.items():
            other = dark[name]
            colours = [adapted[one] for one in (paint.line, paint.fill, paint.ink)]
            assert colours == [other.line, other.fill, other.ink], name
    for light_edges, dark_edges in (
        (PALETTES["light"].edges, PALETTES["dark"].edges),
        (PALETTES["light"].edge_inks, PALETTES["dark"].edge_inks),
    ):
        assert {name: adapted[one] for name, one in light_edges.items()} == dark_edges


@pytest.mark.parametrize("live", [None, LiveState({"end": "done", "boss": "awaiting_approval"})])
def test_an_adaptive_svg_has_a_dark_colour_for_every_colour(live: LiveState | None) -> None:
    svg = picture(workflow(SMALL), "svg", theme="auto", live=live).decode()
    style, _, body = svg.partition("</style>")
    assert "@media (prefers-color-scheme:dark)" in style
    for name, colour in set(re.findall(r' (fill|stroke)="(#[^"]*)"', body)):
        assert f'[{name}="{colour}"]{{{name}:{adapted_colours()[colour]}}}' in style


def test_the_dark_rules_give_the_colours_of_the_dark_picture() -> None:
    light = picture(workflow(SMALL), "svg", theme="light").decode()
    dark = picture(workflow(SMALL), "svg", theme="dark").decode()
    adapted = adapted_colours()
    turned = re.sub(r'(?<==")#[0-9a-f]{6}', lambda one: adapted[one[0]], light)
    assert turned == dark


def test_a_live_svg_takes_its_colours_from_classes_that_can_be_swapped() -> None:
    svg = picture(workflow(SMALL), "svg", theme="auto", live=LiveState({"end": "legal"})).decode()
    assert ".state-running" in svg
    assert '<text class="badge" text-anchor="middle"' in svg
    assert ".state-running" not in picture(workflow(SMALL), "svg", theme="auto").decode()


@pytest.mark.parametrize("format", ["png", "dot", "mermaid"])
def test_what_cannot_follow_the_reader_is_light(format: PictureFormat) -> None:
    definition = workflow(SMALL)
    light = picture(definition, format, theme="light")
    assert picture(definition, format, theme="auto") == light
    assert picture(definition, format, theme="dark") != light


def test_the_legend_explains_only_what_occurs() -> None:
    plain = shown(picture(workflow("steps:\n  only: {tool: a.b}\n"), "svg"))
    for word in ("Hexagon", "Diamond", "undo", "dotted", "parallel", "limit of time", "a policy"):
        assert word not in plain
    full = shown(picture(workflow(SMALL), "svg"))
    for word in ("Hexagon", "Diamond", "Double box", "dotted", "limit of time", "a policy"):
        assert word in full


def test_a_bypass_is_a_line_of_its_own() -> None:
    chart = chart_of(
        workflow("""
steps:
  ask:
    approval: {roles: [boss], timeout: 1h, bypass: {roles: [boss], justification: 20}}
  go: {tool: a.go, needs: {ask: [approved, bypassed]}}
""")
    )
    kinds = {edge.label: edge.kind for edge in chart.edges if edge.head == "step-go"}
    assert kinds == {"approved": "success", "bypassed": "bypass"}


def test_policies_that_limit_no_step_stand_below() -> None:
    svg = picture(
        workflow("""
tools: {always: [a.look]}
steps:
  only: {tool: a.b}
policies:
  - {id: few, call: a.look, at_most: 3, per: session}
"""),
        "svg",
    )
    assert "few, on a.look: max 3 per session" in shown(svg)


def test_many_lines_to_one_end_get_ends_of_their_own() -> None:
    body = "steps:\n" + "".join(
        f"  a{n}: {{approval: {{roles: [boss], timeout: 1h}}, optional: true}}\n"
        for n in range(MANY_LINES)
    )
    chart = chart_of(workflow(body))
    own = {end.id for end in chart.ends if end.only_after}
    assert own == {f"end-rejected-a{n}" for n in range(MANY_LINES)}
    heads = {edge.head for edge in chart.edges}
    assert own <= heads
    assert "end-rejected" not in heads


def test_an_end_of_its_own_lights_up_for_its_own_step_only() -> None:
    body = "steps:\n" + "".join(
        f"  a{n}: {{approval: {{roles: [boss], timeout: 1h}}, optional: true}}\n"
        for n in range(MANY_LINES)
    )
    definition = workflow(body)
    live = LiveState({"a0": "approved", "a1": "rejected"}, end="rejected")
    chart = chart_of(definition)
    lit = {end.id for end in chart.ends if live.end_status(end, chart) != "pending"}
    assert lit == {"end-rejected-a1"}


def test_steps_that_wait_for_the_same_many_steps_meet_in_a_joint() -> None:
    rows = [f"  a{n}: {{tool: a.a{n}}}\n" for n in range(3)]
    rows += [f"  b{n}: {{tool: a.b{n}, needs: [a0, a1, a2]}}\n" for n in range(3)]
    chart = chart_of(workflow("steps:\n" + "".join(rows)))
    (joint,) = chart.joints
    assert {edge.head for edge in chart.edges if edge.tail == joint.id} == {
        "step-b0",
        "step-b1",
        "step-b2",
    }


def test_a_long_chain_is_broken_into_numbered_rows() -> None:
    steps = 2 * ROW + 1
    body = "steps:\n" + "".join(
        f"  s{n}: {{tool: a.t{n}{f', needs: s{n - 1}' if n else ''}}}\n" for n in range(steps)
    )
    definition = workflow(body)
    assert set(chart_of(definition).rows.values()) == {0, 1, 2}
    svg = picture(definition, "svg")
    places = {
        name: float(next(group(svg, name).iter(f"{SVG}text")).attrib["y"])
        for name in ("out-1", "in-1", "step-s0", f"step-s{ROW}", f"step-s{2 * ROW}")
    }
    assert places["step-s0"] < places[f"step-s{ROW}"] < places[f"step-s{2 * ROW}"]
    assert places["out-1"] < places["in-1"]


def test_rules_are_a_card_with_everything_in_words() -> None:
    words = shown(picture(defined(RULES), "svg"))
    for part in (
        *("bank.get_*", "every other call asks a person", "from bank.list", "at most 1,000"),
        "args.payee in facts.payees",
        "total amount ≤ 3 per day, beyond it asks owner",
        "mon-fri 08:00-18:00 Europe/Rome",
    ):
        assert part in words


@pytest.mark.parametrize("format", FORMATS)
def test_rules_are_drawn_in_every_format(format: PictureFormat) -> None:
    assert picture(defined(RULES), format, theme="auto")


def test_a_page_loads_nothing_and_allows_its_own_style_alone() -> None:
    content = picture(workflow(SMALL), "html", theme="dark")
    page = Page(content)
    (policy,) = [
        attributes["content"] or ""
        for tag, attributes in page.tags
        if tag == "meta" and "http-equiv" in attributes
    ]
    (style,) = page.styles
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    # The one address is the name of a namespace.
    assert set(re.findall(rb"https?://[^\"' ]*", content)) == {b"http://www.w3.org/2000/svg"}
    assert not any("style" in attributes for _, attributes in page.tags)
    (chosen,) = [attributes["id"] for _, attributes in page.tags if "checked" in attributes]
    assert chosen == "theme-dark"


def test_a_page_lists_every_policy() -> None:
    page = picture(workflow(SMALL), "html").decode()
    assert "<td><code>cap</code></td><td><code>pay</code></td><td>amount ≤ 5</td>" in page


@pytest.mark.parametrize("format", FORMATS)
def test_a_picture_is_the_same_every_time(format: PictureFormat) -> None:
    live = LiveState({"end": "done"}, caption=("now",))
    first = picture(workflow(SMALL), format, theme="auto", live=live)
    assert picture(workflow(SMALL), format, theme="auto", live=live) == first
