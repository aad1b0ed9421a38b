"""The page in a real browser: two experts at once, and a server that is killed."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deepspot_scale.expert_study.access import Access
from deepspot_scale.expert_study.page import page
from deepspot_scale.expert_study.server import Place, Running
from deepspot_scale.expert_study.session import Session
from deepspot_scale.io.study_answers import read_answers
from deepspot_scale.io.study_comparisons import Comparison, Shown
from deepspot_scale.io.study_folder import Study, read_choices, read_ratings

ACCESS = Access(bytes(range(32)))
N_IMAGES = 100
WIDE = """
[...document.querySelectorAll("*")].filter(each => each.getBoundingClientRect().right >
  innerWidth).map(each => each.id || each.tagName).join(" ")
"""
ANSWER_ALL = """
window.sent = {};
window.last = null;
window.all = (async () => {
  while (state && state.question) {
    const id = state.question.id, value = (Object.keys(sent).length * 7) % 101;
    if (busy) { await wait(2); continue; }
    if (id in sent) throw new Error("asked twice");
    sent[id] = value;
    setScore(value);
    await wait(10);
    await answer(value);
  }
})().catch(error => { window.last = String(error); });
"begun";
"""


HURRY = """
(async () => {
  setScore(40);
  for (let k = 0; k < 12; k++) { $("keep").click(); await wait(20); }
})()
"""


@contextmanager
def server(folder: Path) -> Iterator[Callable[[str], str]]:
    """Serve a study by its command; takes `kill` and `start`, gives its address."""
    port, processes = "0", []

    def do(what: str) -> str:
        nonlocal port
        if what == "kill":
            os.kill(processes[-1].pid, signal.SIGKILL)
            processes[-1].wait(20)
            processes[-1].stderr.close()
            return ""
        command = ["rate", "serve", str(folder), "--port", port]
        process = subprocess.Popen(
            [sys.executable, "-m", "deepspot_scale.cli", *command],
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        for line in process.stderr:
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
            if found:
                port = found[1]
                return found[0]
        raise AssertionError("the server has not started")

    try:
        yield do
    finally:
        if processes and processes[-1].poll() is None:
            processes[-1].terminate()
            processes[-1].wait(20)
            processes[-1].stderr.close()


@pytest.fixture
def second_tab(tab, tmp_path: Path):
    """Another browser."""
    other = type(tab)(tmp_path / "browser")
    yield other
    other.close()


def link(running: Running, expert: str = "") -> str:
    """Return the address that a server gives an expert."""
    return running.session.access.link(expert)


def comparison(study: Study) -> Comparison:
    """Compare an expert's 30 with a network's 60, whatever the image."""
    shown = {name: Shown({"lab": 30.0}, "lab", 60.0) for name in study.images}
    return Comparison("j", "J", "d", "label", shown)


def press(tab, *keys: str) -> None:
    tab.call("Emulation.setFocusEmulationEnabled", enabled=True)
    for key in keys:
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        more = {"text": text} if text else {}
        tab.call("Input.dispatchKeyEvent", type="keyDown", key=key, **more)
        tab.call("Input.dispatchKeyEvent", type="keyUp", key=key)


def until(tab, words: str, seconds: float = 60) -> None:
    """Wait until an expression of the page holds."""
    end = time.monotonic() + seconds
    while not tab.evaluate(words):
        assert time.monotonic() < end, (words, tab.evaluate("window.last"), tab.text)
        time.sleep(0.02)


def ready(tab, done: int) -> None:
    until(tab, f"state && state.done === {done} && !busy && !$('question').hidden")


def complaints(tab) -> list:
    """Return what the browser complains of, except that a server was not there."""
    found = [*tab.methods("Log.entryAdded"), *tab.methods("Runtime.exceptionThrown")]
    return [each for each in found if "ERR_CONNECTION" not in str(each)]


def test_200_answers_of_two_experts_outlive_a_killed_server(
    tab, second_tab, tmp_path: Path, write_small_study
) -> None:
    write_small_study(tmp_path, N_IMAGES, experts=("anna", "ben"))
    with server(tmp_path) as do:
        place = do("start")
        tab.open(f"{place}#expert=anna")
        second_tab.open(f"{place}#expert=ben")
        for each in (tab, second_tab):
            ready(each, 0)
            each.evaluate(ANSWER_ALL)
        until(tab, "state.done > 20")
        do("kill")
        before = read_answers(tmp_path)
        time.sleep(0.3)
        do("start")
        for each in (tab, second_tab):
            until(each, "!$('finished').hidden || window.last")
        sent = [each.evaluate("window.sent") for each in (tab, second_tab)]
    rows = read_answers(tmp_path, history=True)
    assert 20 < len(before) < 2 * N_IMAGES
    assert rows.iloc[: len(before)].equals(before)
    assert rows.groupby("expert")["image"].nunique().to_dict() == {
        "anna": N_IMAGES,
        "ben": N_IMAGES,
    }
    assert len(rows) == 2 * N_IMAGES
    for expert, told in zip(("anna", "ben"), sent, strict=True):
        own = rows[rows["expert"] == expert].sort_values("position")
        assert own["score"].tolist() == list(told.values())
    assert complaints(tab) == complaints(second_tab) == []


def test_keys_rate_and_correct(tab, tmp_path: Path, write_small_study, serving) -> None:
    study = write_small_study(tmp_path, 2)
    with serving(Session(tmp_path, study, ACCESS), Place()) as running:
        tab.open("about:blank")
        tab.open(link(running))
        assert "Who are you?" in tab.text
        tab.evaluate("$('pseudonym').value = 'anna'; $('entry').requestSubmit()")
        ready(tab, 0)
        assert tab.evaluate("document.activeElement.id") == "ask"
        press(tab, "Enter")  # there is no score yet
        press(tab, "7", "3")
        assert tab.evaluate("$('score').textContent") == "73"
        press(tab, "Enter")
        ready(tab, 1)
        press(tab, "ArrowUp", "ArrowRight", "Enter")
        until(tab, "!$('finished').hidden")
        press(tab, "u")
        until(tab, "state.back === 1 && !busy")
        assert "It was: 61" in tab.text
        press(tab, "1", "0", "0", "Enter")
        until(tab, "!$('finished').hidden")
    assert read_answers(tmp_path)["score"].tolist() == [73, 100]
    history = read_answers(tmp_path, history=True)
    assert sorted(history["score"]) == [61, 73, 100]
    assert (history["milliseconds"] < 60_000).all()
    assert complaints(tab) == []


def test_a_reload_loses_and_repeats_nothing(
    tab, tmp_path: Path, write_small_study, serving
) -> None:
    study = write_small_study(tmp_path, 3)
    with serving(Session(tmp_path, study, ACCESS), Place()) as running:
        seen = []
        tab.open("about:blank")
        for number in range(3):
            tab.open(link(running, "anna"))
            ready(tab, number)
            first = tab.evaluate("state.question.id")
            press(tab, "5")
            tab.call("Page.reload")  # what was not kept is asked again
            until(tab, "typeof state !== 'undefined' && state !== null")
            ready(tab, number)
            assert tab.evaluate("state.question.id") == first
            assert tab.evaluate("score") is None
            seen.append(first)
            press(tab, str(number), "Enter")
            until(tab, f"state.done === {number + 1} && !busy")
            tab.open("about:blank")
    assert len(set(seen)) == 3
    assert read_answers(tmp_path, history=True)["score"].tolist() == [0, 1, 2]


def test_clicks_of_a_hurried_expert_answer_one_image_each(
    tab, tmp_path: Path, write_small_study, serving
) -> None:
    study = write_small_study(tmp_path, 5)
    with serving(Session(tmp_path, study, ACCESS), Place()) as running:
        tab.open("about:blank")
        tab.open(link(running, "anna"))
        ready(tab, 0)
        tab.evaluate(HURRY)
        ready(tab, 1)
    assert read_ratings(tmp_path)["score"].tolist() == [40]


def test_a_second_tab_with_an_old_question_is_told_and_changes_nothing(
    tab, second_tab, tmp_path: Path, write_small_study, serving
) -> None:
    study = write_small_study(tmp_path, 3)
    with serving(Session(tmp_path, study, ACCESS), Place()) as running:
        for each in (tab, second_tab):
            each.open("about:blank")
            each.open(link(running, "anna"))
            ready(each, 0)
        press(tab, "7", "0", "Enter")
        ready(tab, 1)
        press(second_tab, "2", "0", "Enter")
        ready(second_tab, 1)
        assert "had an answer already" in second_tab.text
    assert read_answers(tmp_path, history=True)["score"].tolist() == [70]


def test_keys_choose_between_two_scores_that_stand_as_the_answers_say(
    tab, tmp_path: Path, write_small_study, serving
) -> None:
    study = write_small_study(tmp_path, 4, consent="We keep what you say.")
    session = Session(tmp_path, study, ACCESS, comparison(study))
    with serving(session, Place()) as running:
        tab.open("about:blank")
        tab.open(link(running, "anna"))
        until(tab, "!$('consent').hidden")
        assert "We keep what you say." in tab.text
        tab.evaluate("$('agree').click()")
        ready(tab, 0)
        assert {tab.evaluate(f"$('{s}').textContent") for s in ("left", "right")} == {
            "30",
            "60",
        }
        left = [tab.evaluate("state.question.left")]
        for number, key in enumerate(("ArrowLeft", "2", "ArrowDown"), start=1):
            press(tab, key)
            ready(tab, number)
            left.append(tab.evaluate("state.question.left"))
        press(tab, "4")
        until(tab, "!$('finished').hidden")
    rows = read_choices(tmp_path)
    stood = ["target" if score == 30 else "predicted" for score in left]
    assert rows["stands_left"].tolist() == stood
    other = {"target": "predicted", "predicted": "target"}
    assert rows["choice"].tolist() == [
        stood[0],
        other[stood[1]],
        "equivalent",
        "discard",
    ]
    assert complaints(tab) == []


@pytest.mark.parametrize("compares", [False, True])
def test_the_page_fits_narrow_screens_zooms_and_names_its_parts(
    tab, tmp_path: Path, write_small_study, serving, compares: bool
) -> None:
    study = write_small_study(tmp_path, 2)
    compared = comparison(study) if compares else None
    session = Session(tmp_path, study, ACCESS, compared)
    with serving(session, Place()) as running:
        tab.open("about:blank")
        tab.open(link(running, "anna"))
        ready(tab, 0)
        for width in (320, 390, 1280):
            tab.call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=800,
                deviceScaleFactor=1,
                mobile=width < 1000,
            )
            wide = tab.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, tab.evaluate(WIDE)
        names = tab.evaluate(
            "[...document.querySelectorAll('button, input')].filter(each => "
            "each.checkVisibility() && !(each.getAttribute('aria-label') || "
            "each.innerText || each.labels?.length)).map(each => each.id)"
        )
        assert names == []
        box = tab.evaluate("$('view').getBoundingClientRect().toJSON()")
        x, y = box["x"] + box["width"] / 4, box["y"] + box["height"] / 4
        event = {"type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": -400}
        tab.call("Input.dispatchMouseEvent", **event)
        until(tab, "zoom.scale > 2")
        # The point under the pointer stays.
        scale, at = tab.evaluate("zoom.scale"), tab.evaluate("zoom.x")
        assert at == pytest.approx(-(scale - 1) * box["width"] / 4, rel=0.01)
        press(tab, "r")
        assert tab.evaluate("zoom.scale") == 1
        tab.call("Emulation.clearDeviceMetricsOverride")


def test_style_and_script_are_in_the_page() -> None:
    text = page()
    assert text.count("<script>") == text.count("<style>") == 1
    assert '"use strict"' in text
