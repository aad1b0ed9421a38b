"""Who is let in: tokens, hosts and origins."""

import pytest

from deepspot_scale.expert_study.access import Access, is_loopback

KEY = bytes(range(32))
HERE = Access(KEY, "127.0.0.1", 8790)
OPEN = Access(KEY, "0.0.0.0", 8790)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    assert not Access(KEY, host).needs_token
    assert Access(KEY, host).allows("anna", "")


def test_elsewhere_each_expert_has_a_token_that_is_the_same_at_each_start() -> None:
    token = OPEN.token("anna")
    assert OPEN.allows("anna", token)
    assert Access(KEY, "example.org").allows("anna", token)
    assert not OPEN.allows("ben", token)
    assert not OPEN.allows("anna", "")
    assert not OPEN.allows("anna", "ü")
    assert not Access(bytes(32), "0.0.0.0").allows("anna", token)


def test_names_on_the_page_differ_and_say_nothing() -> None:
    names = {HERE.public_name(word) for word in ("a", "b", "token\0anna")}
    assert len(names) == 3
    assert HERE.token("anna") not in names
    assert all(len(name) == 32 for name in names)


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:8790", True),
        ("localhost:8790", True),
        ("[::1]:8790", True),
        ("evil.example:8790", False),
        ("localhost.evil.example", False),
        ("192.168.0.7:8790", False),
        ("", False),
        ("[", False),
    ],
)
def test_a_name_that_was_rebound_to_this_machine_is_refused(
    host: str, known: bool
) -> None:
    assert HERE.knows_host(host) is known


def test_an_open_server_is_known_by_address_and_by_its_own_names() -> None:
    lab = Access(KEY, "scope.lab.example", 8790)
    assert lab.knows_host("192.168.0.7:8790")
    assert lab.knows_host("Scope.lab.example:8790")
    assert not lab.knows_host("evil.example:8790")


def test_an_origin_is_ours_only_with_scheme_host_and_port() -> None:
    host = "127.0.0.1:8790"
    assert HERE.knows_origin(None, host)
    assert HERE.knows_origin("http://127.0.0.1:8790", host)
    for other in (
        "https://127.0.0.1:8790",
        "http://127.0.0.1:1",
        "null",
        "http://evil",
    ):
        assert not HERE.knows_origin(other, host)


def test_links_hold_name_and_token_behind_the_hash() -> None:
    assert HERE.link() == "http://127.0.0.1:8790/"
    assert HERE.link("anna") == "http://127.0.0.1:8790/#expert=anna"
    lab = Access(KEY, "192.168.0.7", 80, secure=True)
    place, _, words = lab.link("anna").partition("#")
    assert place == "https://192.168.0.7:80/"
    assert words == f"expert=anna&token={lab.token('anna')}"
    assert Access(KEY, "::1", 80).link() == "http://[::1]:80/"
