"""`mcpuppet render --session`: where a run is, or was after any record, as a picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from support.fakes import FakeServers
from support.project import PAYMENT, SENDING, Project

from mcpuppet.orchestrator import Orchestrator

SVG = "{http://www.w3.org/2000/svg}"


def state_words(project: Project, name: str) -> dict[str, str]:
    """The state word of every shape in a picture."""
    # The text is our own renderer's; no foreign XML is read here.
    root = ET.fromstring((project.folder / name).read_bytes())
    return {
        group.attrib["id"]: next(group.iter(f"{SVG}text")).text or ""
        for group in root.iter(f"{SVG}g")
        if group.attrib.get("class", "").startswith("node kind-")
        and any(one.attrib.get("class") == "badge" for one in group.iter(f"{SVG}text"))
    }


def all_words(project: Project, name: str) -> str:
    root = ET.fromstring((project.folder / name).read_bytes())
    return " ".join(one.text or "" for one in root.iter(f"{SVG}text"))


def test_a_run_is_drawn_where_it_is(project: Project) -> None:
    session, _ = project.asked()
    result = project.run("render", "--session", session, "-f", "svg")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.split() == [f"{session}.svg"]
    assert state_words(project, f"{session}.svg") == {
        "step-ask": "AWAITING APPROVAL",
        "step-pay": "PENDING",
        "end-completed": "PENDING",
        "end-rejected": "PENDING",
        "end-failed": "PENDING",
    }


def test_the_picture_says_whose_it_is_and_of_when(project: Project) -> None:
    session, _ = project.asked()
    project.run("render", "--session", session, "-f", "svg")
    words = all_words(project, f"{session}.svg")
    count = len(project.kinds(session))
    assert f"session {session} · after record {count} of {count}" in words
    assert "UTC" in words
    assert "waiting approval" in words


def test_a_run_that_ended_is_drawn_as_it_was_after_any_record(project: Project) -> None:
    async def send(orchestrator: Orchestrator, servers: FakeServers) -> str:
        session = (await orchestrator.start_workflow("sending", {})).session_id
        await orchestrator.call_tool(session, "post.forbidden", {})
        answer = await orchestrator.call_tool(session, "post.send", {})
        assert answer.status == "succeeded"
        return session

    session = project.play(SENDING, send)
    kinds = project.kinds(session)
    expected = {
        "RunStarted": ("LEGAL NOW", "PENDING"),
        "CallStarted": ("RUNNING", "PENDING"),
        "StepSucceeded": ("DONE", "PENDING"),
        "RunEnded": ("DONE", "COMPLETED"),
    }
    for kind, (step, end) in expected.items():
        seq = kinds.index(kind) + 1
        result = project.run("render", "--session", session, "--at", str(seq), "-f", "svg")
        assert result.exit_code == 0, result.stderr
        words = state_words(project, f"{session}.at-{seq}.svg")
        assert (words["step-send"], words["end-completed"]) == (step, end), kind
        assert f"after record {seq} of {len(kinds)} ({kind})" in all_words(
            project, f"{session}.at-{seq}.svg"
        )


def test_the_recorded_workflow_is_drawn_whatever_became_of_its_file(project: Project) -> None:
    session, _ = project.asked()
    for file in project.folder.rglob("*.yaml"):
        if "steps:" in file.read_text():
            file.write_text(PAYMENT.replace("Ask the boss", "Ask nobody"))
    project.run("render", "--session", session, "-f", "svg")
    assert "Ask the boss" in all_words(project, f"{session}.svg")


def test_refused_calls_are_counted_on_their_step(project: Project) -> None:
    async def call_too_early(orchestrator: Orchestrator, _: FakeServers) -> str:
        values = {"amount": 1, "payee": "x"}
        session = (await orchestrator.start_workflow("payment", values)).session_id
        for amount in (2, 3):
            answer = await orchestrator.call_tool(session, "bank.pay", values | {"amount": amount})
            assert answer.status == "denied"
        return session

    session = project.play(PAYMENT, call_too_early)
    project.run("render", "--session", session, "-f", "svg")
    words = state_words(project, f"{session}.svg")
    assert words["step-pay"] == "REFUSED \N{MULTIPLICATION SIGN}2"


@pytest.mark.parametrize("at", ["0", "-3", "999"])
def test_a_record_that_is_not_there_is_answered_with_the_range(project: Project, at: str) -> None:
    session, _ = project.asked()
    result = project.run("render", "--session", session, "--at", at)
    assert result.exit_code == 2
    assert f"it has records 1 to {len(project.kinds(session))}" in result.stderr
    assert not list(project.folder.glob("*.svg"))


def test_before_its_first_run_a_session_has_no_picture(project: Project) -> None:
    session, _ = project.asked()
    first = project.kinds(session).index("RunStarted") + 1
    result = project.run("render", "--session", session, "--at", "1")
    assert result.exit_code == 2
    assert f"its first began with record {first}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--session", "nobody"), "no session 'nobody'"),
        (("--at", "3"), "--session names the session"),
        (("workflows", "--session", "x"), "name no files with it"),
        (("--session", "x", "--check"), "--check is for pictures of workflow files"),
        (("--session", "x", "-c", "missing.yaml"), "no settings file missing.yaml"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(
    project: Project, arguments: tuple[str, ...], said: str
) -> None:
    project.asked()
    result = project.run("render", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_session_id_cannot_lead_out_of_the_folder(project: Project) -> None:
    async def start(orchestrator: Orchestrator, _: FakeServers) -> None:
        values = {"amount": 1, "payee": "x"}
        await orchestrator.start_workflow("payment", values, session_id="../../etc/x y")

    project.play(PAYMENT, start)
    result = project.run("render", "--session", "../../etc/x y", "-f", "dot")
    assert result.stdout.split() == ["______etc_x_y.dot"]
