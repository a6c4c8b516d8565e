"""As much of SIP (RFC 3261) and SDP (RFC 4566) as one caller needs. Sans-I/O."""

import hashlib
import re
import secrets
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SipMessage:
    """A request or an answer: first line, headers in order, body."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: str = field(default="", repr=False)

    @property
    def status(self) -> int | None:
        """Of an answer; None for a request."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else None

    @property
    def reason(self) -> str:
        return self.start.split(" ", 2)[-1]

    @property
    def method(self) -> str:
        """Of a request, or of the request that this answers."""
        return self.start.split()[0] if self.status is None else self.header("CSeq").split()[-1]

    def header(self, name: str) -> str:
        """The first of this name, "" when there is none."""
        return next(iter(self.all(name)), "")

    def all(self, name: str) -> tuple[str, ...]:
        wanted = name.lower()
        return tuple(value for key, value in self.headers if key.lower() == wanted)

    def encode(self) -> bytes:
        body = self.body.encode()
        lines = [self.start, *(f"{key}: {value}" for key, value in self.headers)]
        lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


_SHORT = {"v": "Via", "f": "From", "t": "To", "i": "Call-ID", "m": "Contact", "l": "Content-Length"}


def parse_sip(data: bytes) -> SipMessage:
    """One datagram.

    Raises:
        ValueError: no SIP.
    """
    head, _, body = data.decode(errors="replace").partition("\r\n\r\n")
    start, *lines = head.split("\r\n")
    if "SIP/2.0" not in start or len(start.split()) < 3:
        raise ValueError(f"no SIP message: {start[:60]!r}")
    headers = []
    for line in lines:
        key, colon, value = line.partition(":")
        if colon:
            headers.append((_SHORT.get(key.strip(), key.strip()), value.strip()))
    kept = tuple(each for each in headers if each[0].lower() != "content-length")
    return SipMessage(start, kept, body)


def answer_to(request: SipMessage, status: str, body: str = "") -> SipMessage:
    """An answer with the headers that must come back (RFC 3261, section 8.2.6)."""
    copied = ("via", "from", "to", "call-id", "cseq")
    headers = tuple(each for each in request.headers if each[0].lower() in copied)
    if body:
        headers += (("Content-Type", "application/sdp"),)
    return SipMessage(f"SIP/2.0 {status}", headers, body)


def uri_of(header: str) -> str:
    """`"Name" <sip:x@host>;tag=1` → `sip:x@host`."""
    found = re.search(r"<([^>]+)>", header)
    return found.group(1) if found else header.split(";")[0].strip()


def proof_for(
    refusal: SipMessage, method: str, uri: str, user: str, password: str
) -> tuple[str, str]:
    """The header that a request needs after this 401 or 407: a digest by MD5 (RFC 2617).

    Raises:
        ValueError: another kind of proof is wanted.
    """
    proxy = refusal.status == 407
    challenge = refusal.header("Proxy-Authenticate" if proxy else "WWW-Authenticate")
    told = dict(re.findall(r'(\w+)=(?:"(?=[^"]*"))?([^",]+)', challenge))
    if not challenge.lower().startswith("digest") or told.get("algorithm", "MD5") != "MD5":
        raise ValueError(f"this is no digest by MD5: {challenge}")
    realm, nonce = told["realm"], told["nonce"]
    named = {"username": user, "realm": realm, "nonce": nonce, "uri": uri}
    ours, asked = _md5(user, realm, password), _md5(method, uri)
    if "qop" in told:
        again = secrets.token_hex(8)
        named |= {"cnonce": again, "response": _md5(ours, nonce, "00000001", again, "auth", asked)}
    else:
        named["response"] = _md5(ours, nonce, asked)
    if "opaque" in told:
        named["opaque"] = told["opaque"]
    quoted = [f'{key}="{value}"' for key, value in named.items()]
    plain = ["qop=auth", "nc=00000001"] if "qop" in told else []
    name = "Proxy-Authorization" if proxy else "Authorization"
    return name, "Digest " + ", ".join([*quoted, *plain, "algorithm=MD5"])


def _md5(*parts: str) -> str:
    return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()


def sdp_offer(host: str, port: int) -> str:
    """PCMU, and keys as telephone events (RFC 4733)."""
    lines = [
        "v=0",
        f"o=- 1 1 IN IP4 {host}",
        "s=-",
        f"c=IN IP4 {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP 0 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=sendrecv",
    ]
    return "\r\n".join(lines) + "\r\n"


def sdp_address(body: str) -> tuple[str, int] | None:
    """Where the other side wants its audio."""
    host = re.search(r"^c=IN IP4 (\S+)", body, re.MULTILINE)
    port = re.search(r"^m=audio (\d+)", body, re.MULTILINE)
    return (host.group(1), int(port.group(1))) if host and port else None
