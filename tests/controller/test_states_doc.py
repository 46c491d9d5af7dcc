"""The page on the operating states says what the table says."""

import re

from controller import states_doc
from controller.states import REFUSED, TABLE, Event
from telemetry.sample import OperatingState


def test_the_committed_page_is_the_generated_one():
    assert states_doc.PAGE.read_text(encoding="utf-8") == states_doc.page(), "run python -m controller.states_doc"


def test_the_diagram_has_every_transition_and_no_other():
    drawn = set()
    for start, end, events in re.findall(r"(\w+) --> (\w+): (.*)", states_doc.diagram()):
        drawn |= {(start, end, event) for event in events.split(", ")}
    assert drawn == {
        (state.name, OperatingState(int(TABLE[state, event])).name, event.name)
        for state in OperatingState
        for event in Event
        if TABLE[state, event] not in (REFUSED, state)
    }


def test_the_page_explains_every_state_and_event():
    assert set(states_doc.STATES) == set(OperatingState)
    assert set(states_doc.EVENTS) == set(Event)


def test_a_page_is_written_where_it_is_asked_for(tmp_path, capsys):
    assert states_doc.main([str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == states_doc.page()
    assert "page.md" in capsys.readouterr().out
