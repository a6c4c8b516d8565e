"""Whether a webhook's request is Twilio's: `X-Twilio-Signature`. Pure.

Twilio signs the address that it requested, as it knows it (`wss://…` for a stream), followed by the
names and values of the form, sorted by name: HMAC-SHA1 with the account's auth token, in base64
(https://www.twilio.com/docs/usage/security#validating-requests).
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from urllib.parse import urlsplit


def signature(auth_token: str, url: str, form: Iterable[tuple[str, str]]) -> str:
    """What Twilio would have sent.

    Args:
        form: names and values as they were sent; the same value of a name counts once.
    """
    signed = url + "".join(name + value for name, value in sorted(set(form)))
    digest = hmac.new(auth_token.encode(), signed.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def is_genuine(auth_token: str, url: str, form: Iterable[tuple[str, str]], given: str) -> bool:
    """Twilio signs an address with its port or without it, whichever it was given."""
    fields, scheme, host = list(form), urlsplit(url).scheme, urlsplit(url).hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = urlsplit(url).port or (443 if scheme in ("https", "wss") else 80)
    ways = (urlsplit(url)._replace(netloc=netloc) for netloc in (host, f"{host}:{port}"))
    expected = [signature(auth_token, way.geturl(), fields).encode() for way in ways]
    return any(hmac.compare_digest(each, given.encode()) for each in expected)
