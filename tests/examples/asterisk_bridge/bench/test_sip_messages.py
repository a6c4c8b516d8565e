"""SIP and SDP, as much as a phone needs."""

import pytest

from examples.asterisk_bridge.bench.sip_messages import (
    SipMessage,
    answer_to,
    parse_sip,
    proof_for,
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


def challenged(challenge: str, status: int = 401) -> SipMessage:
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    return SipMessage(f"SIP/2.0 {status} Unauthorized", ((name, challenge),))


def test_a_proof_without_qop_is_that_of_rfc_2069() -> None:
    """The example that its errata corrected."""
    challenge = (
        'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
        'opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    uri, user = "/dir/index.html", "Mufasa"
    name, proof = proof_for(challenged(challenge), "GET", uri, user, "CircleOfLife")
    assert name == "Authorization" and 'opaque="5ccc069c403ebaf9f0171e9517f40e41"' in proof
    assert 'response="1949323746fe6a43ef61f9606e7febea"' in proof


def test_a_proof_with_qop_counts_and_adds_something_of_ours() -> None:
    challenge = 'Digest realm="asterisk",nonce="1/2=",opaque="3",algorithm=MD5,qop="auth"'
    proofs = [
        proof_for(challenged(challenge, 407), "INVITE", "sip:1@h", "6001", "x") for _ in range(2)
    ]
    assert proofs[0][0] == "Proxy-Authorization" and proofs[0] != proofs[1]
    assert "qop=auth, nc=00000001" in proofs[0][1] and 'nonce="1/2="' in proofs[0][1]


@pytest.mark.parametrize("challenge", ["", "Basic realm=x", 'Digest realm="a",algorithm=SHA-256'])
def test_other_proofs_are_not_given(challenge: str) -> None:
    with pytest.raises(ValueError, match="no digest by MD5"):
        proof_for(challenged(challenge), "INVITE", "sip:1@h", "6001", "x")
