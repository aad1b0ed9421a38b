"""Requests over HTTP: what is served, and to whom nothing is."""

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from deepspot_scale.cluster.security import write_certificates
from deepspot_scale.errors import SettingsError
from deepspot_scale.expert_study.access import Access
from deepspot_scale.expert_study.server import Place, serve_study, start, welcome
from deepspot_scale.expert_study.session import Session
from deepspot_scale.io.study_answers import read_answers

KEY = bytes(range(32))


class Client:
    """Sends requests as a browser's page would, or as something else."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self.port, self.context = port, context
        self.host = f"127.0.0.1:{port}"

    def ask(self, method: str, path: str, body=None, **headers: str):
        """Return status, headers and content; underscores in names are hyphens."""
        if self.context is None:
            line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        else:
            line = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=20, context=self.context
            )
        sent = {name.replace("_", "-"): word for name, word in headers.items()}
        content = json.dumps(body).encode() if body is not None else None
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        with closing(line):
            line.request(method, path, content, sent)
            answer = line.getresponse()
            return answer.status, answer.headers, answer.read()

    def call(self, path: str, body, expert: str = "anna", **headers: str):
        """Return status and JSON of a call of the page."""
        sent = {"X_Study_Expert": expert} | headers
        status, _, content = self.ask("POST", path, body, **sent)
        return status, json.loads(content)


@pytest.fixture
def client(tmp_path: Path, write_small_study, serving):
    """Client of a server on loopback in which six images are rated."""
    session = Session(tmp_path, write_small_study(tmp_path), Access(KEY))
    with serving(session, Place()) as running:
        yield Client(running.session.access.port)


def test_the_page_loads_nothing_from_elsewhere(client: Client) -> None:
    status, headers, content = client.ask("GET", "/")
    text = content.decode()
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "http://" not in text
    assert "https://" not in text
    assert "/*STYLE*/" not in text
    assert "secret" not in text
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"
    assert "Server" not in headers


def test_an_answer_is_on_the_disk_when_it_is_acknowledged(
    client: Client, tmp_path: Path
) -> None:
    _, state = client.call("/api/state", {})
    question = state["question"]["id"]
    status, after = client.call("/api/answer", {"question": question, "value": 70})
    assert (status, after["done"], after["kept"]["value"]) == (200, 1, 70)
    assert read_answers(tmp_path)["score"].tolist() == [70.0]


def test_an_image_is_a_png_without_its_name(client: Client) -> None:
    _, state = client.call("/api/state", {})
    path = f"/image/{state['question']['id']}"
    status, headers, content = client.ask("GET", path, X_Study_Expert="anna")
    assert status == 200
    assert content.startswith(b"\x89PNG")
    assert float(headers["X-Study-Low"]) < float(headers["X-Study-High"])
    assert "secret" not in str(headers)
    # Another expert's question is none of one's own.
    assert client.ask("GET", path)[0] == 403


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 403),
        ({"X_Study_Expert": "anna", "Host": "evil.example"}, 421),
        ({"X_Study_Expert": "anna", "Origin": "http://evil.example"}, 403),
        ({"X_Study_Expert": "anna", "Origin": "null"}, 403),
        ({"X_Study_Expert": "anna", "Sec_Fetch_Site": "cross-site"}, 403),
        ({"X_Study_Expert": "anna", "Sec_Fetch_Site": "same-site"}, 403),
        ({"X_Study_Expert": "two words"}, 403),
        ({"X_Study_Expert": "anna", "Content_Type": "text/plain"}, 400),
        ({"X_Study_Expert": "anna"}, 200),
        ({"X_Study_Expert": "anna", "Sec_Fetch_Site": "same-origin"}, 200),
    ],
)
def test_other_sites_and_names_are_refused(
    client: Client, headers: dict[str, str], expected: int
) -> None:
    status, sent, content = client.ask("POST", "/api/state", {}, **headers)
    assert status == expected
    if expected != 200:
        assert set(json.loads(content)) == {"error"}
        assert "Access-Control-Allow-Origin" not in sent


def test_a_rebound_name_does_not_even_get_the_page(client: Client) -> None:
    assert client.ask("GET", "/", Host="evil.example")[0] == 421
    assert client.ask("GET", "/", Sec_Fetch_Site="cross-site")[0] == 200


def test_a_simple_form_of_another_site_changes_nothing(
    client: Client, tmp_path: Path
) -> None:
    kind = "application/x-www-form-urlencoded"
    assert client.ask("POST", "/api/answer", {}, Content_Type=kind)[0] == 403
    assert client.ask("OPTIONS", "/api/answer", X_Study_Expert="anna")[0] == 405
    assert read_answers(tmp_path).empty


@pytest.mark.parametrize("body", [[], "text", 5])
def test_a_body_of_another_kind_is_refused(client: Client, body) -> None:
    assert client.call("/api/state", body)[0] == 400


def test_what_is_not_there_or_too_much_is_refused(client: Client) -> None:
    assert client.ask("GET", "/images/secret000.tif")[0] == 404
    assert client.ask("GET", f"/image/{'0' * 32}", X_Study_Expert="anna")[0] == 404
    assert client.ask("GET", "/image/..%2fkey", X_Study_Expert="anna")[0] == 404
    status, _ = client.call("/api/state", {"back": "1"})
    assert status == 400
    with pytest.raises((http.client.HTTPException, OSError)):
        client.ask("POST", "/api/state", {"x": "y" * 100_000}, X_Study_Expert="anna")


def test_a_refused_answer_says_why(client: Client) -> None:
    status, said = client.call("/api/answer", {"question": "0" * 32, "value": 70})
    assert (status, said) == (400, {"error": "there is no such question"})


def test_names_of_experts_may_have_any_letters(client: Client) -> None:
    assert client.call("/api/state", {}, "j%C3%BCrgen")[1]["expert"] == "jürgen"


def test_others_need_the_experts_own_token(
    tmp_path: Path, write_small_study, serving
) -> None:
    study = write_small_study(tmp_path, experts=("anna", "ben"))
    session = Session(tmp_path, study, Access(KEY, "0.0.0.0"))
    with serving(session, Place("0.0.0.0")) as running:
        access = running.session.access
        client = Client(access.port)
        lines = welcome(running.session)
        assert f"#expert=anna&token={access.token('anna')}" in lines[0]
        assert any("warning" in line for line in lines)
        assert client.ask("GET", "/")[0] == 200
        for expert, token in (
            ("anna", ""),
            ("anna", access.token("ben")),
            ("cleo", access.token("cleo")),
        ):
            status, said = client.call("/api/state", {}, expert, X_Study_Token=token)
            assert status == 403
            assert "link is not valid" in said["error"]
        token = access.token("anna")
        status, state = client.call("/api/state", {}, X_Study_Token=token)
        assert (status, state["expert"]) == (200, "anna")


def test_answers_go_by_https_where_a_certificate_is_given(
    tmp_path: Path, write_small_study, serving
) -> None:
    files = write_certificates(tmp_path / "tls")
    session = Session(tmp_path, write_small_study(tmp_path), Access(KEY))
    place = Place(certificate=files.cert, private_key=files.key)
    context = ssl.create_default_context(cafile=files.cert)
    context.check_hostname = False
    with serving(session, place) as running:
        access = running.session.access
        client = Client(access.port, context)
        assert access.link().startswith("https://")
        origin = f"https://{client.host}"
        assert client.call("/api/state", {}, Origin=origin)[0] == 200
        origin = f"http://{client.host}"
        assert client.call("/api/state", {}, Origin=origin)[0] == 403


def test_places_that_cannot_be_served_are_errors(
    tmp_path: Path, write_small_study, client: Client
) -> None:
    study = write_small_study(tmp_path)
    with pytest.raises(SettingsError, match="name the experts"):
        serve_study(tmp_path, study, Place("0.0.0.0"), say=print)
    session = Session(tmp_path, study, Access(KEY))
    with pytest.raises(SettingsError, match="Give another port"):
        start(session, Place(port=client.port))
    with pytest.raises(SettingsError, match="needs --certificate"):
        start(session, Place(private_key=tmp_path / "key.pem"))
    with pytest.raises(SettingsError, match="no PEM file"):
        start(session, Place(certificate=tmp_path / "study.json"))


def test_the_command_stops_by_a_signal_and_names_the_links(
    tmp_path: Path, write_small_study
) -> None:
    write_small_study(tmp_path, experts=("anna",))
    words = ("rate", "serve", str(tmp_path), "--port", "0")
    command = [sys.executable, "-m", "deepspot_scale.cli", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("anna: http://127.0.0.1:")
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(20) == 0
