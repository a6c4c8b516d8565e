"""SIP and SDP, as much as a phone needs."""

import pytest

from examples.asterisk_bridge.bench.sip_messages import (
    answer_to,
    parse_sip,
    sdp_address,
    sdp_offer,
    uri_of,
)

BYE = (
    b"BYE sip:caller@127.0.0.1:5062 SIP/2.0\r\n"
    b"v: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK1\r\n"
    b"From: <sip:1000@127.0.0.1>;tag=b\r\n"
    b"To: <sip:caller@127.0.0.1>;tag=a\r\n"
    b"Call-ID: abc\r\n"
    b"CSeq: 7 BYE\r\n"
    b"Content-Length: 0\r\n\r\n"
)


def test_a_request_is_read_and_answered() -> None:
    request = parse_sip(BYE)
    assert (request.status, request.method) == (None, "BYE")
    answer = parse_sip(answer_to(request, "200 OK").encode())
    assert (answer.status, answer.reason, answer.method) == (200, "OK", "BYE")
    assert answer.header("via") == "SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK1"
    assert answer.header("Call-ID") == "abc"


def test_an_offer_says_where_audio_is_wanted() -> None:
    assert sdp_address(sdp_offer("10.0.0.7", 4002)) == ("10.0.0.7", 4002)
    assert sdp_address("v=0\r\n") is None


def test_the_body_survives() -> None:
    answer = answer_to(parse_sip(BYE), "200 OK", sdp_offer("10.0.0.7", 4002))
    assert parse_sip(answer.encode()).body == sdp_offer("10.0.0.7", 4002)


@pytest.mark.parametrize(
    "header, uri",
    [
        ('"A. B." <sip:a@h:5060>;tag=1', "sip:a@h:5060"),
        ("sip:a@h;tag=1", "sip:a@h"),
    ],
)
def test_uris(header: str, uri: str) -> None:
    assert uri_of(header) == uri


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_what_is_no_sip_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_sip(data)
