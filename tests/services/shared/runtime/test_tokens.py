"""Tokens are what they were signed to be, and nothing else is a token."""

import base64
import json
from datetime import UTC, datetime

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.runtime.keys import KeyRecord, Scope, new_key
from services.shared.runtime.quotas import Allowance
from services.shared.runtime.tokens import MAX_TTL_S, BadToken, Tokens, key_id_in

NOW = 1_800_000_000.0
TOKENS = Tokens(b"a secret of at least 32 bytes ....")


def a_key() -> KeyRecord:
    return new_key("Ada", scopes=Scope, now=datetime.fromtimestamp(NOW, UTC))[1]


KEY, OTHER_KEY = a_key(), a_key()
SCOPES = st.frozensets(st.sampled_from(Scope), min_size=1)
ALLOWANCES = st.builds(
    Allowance,
    sessions=st.none() | st.integers(0, 10**6),
    audio_s=st.none() | st.floats(0, 1e9),
    characters=st.none() | st.integers(0, 10**9),
)


@given(SCOPES, st.integers(1, MAX_TTL_S), st.integers(0, MAX_TTL_S), ALLOWANCES)
def test_a_token_says_what_it_was_signed_to_say(
    scopes: frozenset[Scope], ttl_s: int, later_s: int, allowance: Allowance
) -> None:
    text, ticket = TOKENS.sign(KEY, scopes, ttl_s, NOW, allowance)
    assert key_id_in(text) == KEY.id == ticket.key_id
    # As a header's value and as a WebSocket's subprotocol (RFC 7230's token).
    assert all(sign.isalnum() and sign.isascii() or sign in "-_." for sign in text)
    assert ticket.scopes == scopes
    assert ticket.allowance == allowance
    if later_s < ttl_s:
        assert TOKENS.read(text, KEY, NOW + later_s) == ticket
    else:
        with pytest.raises(BadToken, match="expired"):
            TOKENS.read(text, KEY, NOW + later_s)


@given(st.data())
def test_a_token_that_was_changed_is_none(data: st.DataObject) -> None:
    text, ticket = TOKENS.sign(KEY, frozenset({Scope.ASR}), 60, NOW)
    at = data.draw(st.integers(0, len(text) - 1))
    sign = data.draw(st.characters(codec="latin-1").filter(lambda sign: sign != text[at]))
    changed = text[:at] + sign + text[at + 1 :]
    # The last sign of 256 bits in base64 has two bits to spare, which mean nothing.
    if at == len(text) - 1 and decoded(changed) == decoded(text):
        return
    with pytest.raises(BadToken):
        TOKENS.read(changed, KEY, NOW)
    assert TOKENS.read(text, KEY, NOW) == ticket


def decoded(token: str) -> bytes | None:
    try:
        return base64.urlsafe_b64decode(token.rpartition(".")[2] + "=")
    except ValueError:
        return None


@given(st.text(max_size=300) | st.from_regex(r"[\w-]{0,80}\.[\w-]{0,80}\.[\w-]{0,80}"))
def test_any_other_text_is_no_token(text: str) -> None:
    key_id_in(text)
    with pytest.raises(BadToken):
        TOKENS.read(text, KEY, NOW)


def test_a_token_is_good_for_its_key_and_its_secret_alone() -> None:
    text, _ = TOKENS.sign(KEY, frozenset({Scope.ASR}), 60, NOW)
    renewed = KEY.model_copy(update={"sha256": "0" * 64})
    for tokens, key in ((TOKENS, OTHER_KEY), (TOKENS, renewed), (Tokens(b"?" * 32), KEY)):
        with pytest.raises(BadToken, match="not accepted"):
            tokens.read(text, key, NOW)
    assert Tokens(b"a secret of at least 32 bytes ....").read(text, KEY, NOW)


def test_it_lives_for_an_hour_at_most() -> None:
    text, ticket = TOKENS.sign(KEY, frozenset({Scope.ASR}), 10 * MAX_TTL_S, NOW)
    assert ticket.expires_at == NOW + MAX_TTL_S
    with pytest.raises(BadToken, match="not accepted"):
        TOKENS.read(text, KEY, NOW - 61)  # of a clock that is far ahead
    assert TOKENS.read(text, KEY, NOW - 59)


def signed(claims: dict[str, object], *, algorithm: str = "HS256") -> str:
    secret = TOKENS._key_for(KEY) if algorithm != "none" else ""
    return jwt.encode(claims, secret, algorithm=algorithm, headers={"kid": KEY.id})


CLAIMS: dict[str, object] = {
    "iss": "voice", "jti": "0" * 32, "iat": int(NOW), "exp": int(NOW) + 60, "scope": "asr"
}  # fmt: skip


def test_claims_are_taken_as_they_must_be_or_not_at_all() -> None:
    assert TOKENS.read(signed(CLAIMS), KEY, NOW)
    wrong: list[dict[str, object]] = [
        {"iss": "other"},
        {"exp": "soon"},
        {"exp": int(NOW) + MAX_TTL_S + 1},
        {"scope": "asr root"},
        {"scope": ["asr"]},
        {"jti": ""},
        {"admin": True},
        {"sessions": -1},
    ]
    for change in wrong:
        with pytest.raises(BadToken):
            TOKENS.read(signed(CLAIMS | change), KEY, NOW)
    for name in CLAIMS.keys() - {"iss"}:
        rest = {claim: value for claim, value in CLAIMS.items() if claim != name}
        with pytest.raises(BadToken):
            TOKENS.read(signed(rest), KEY, NOW)


@pytest.mark.filterwarnings("ignore:The HMAC key is 32 bytes long")
@pytest.mark.parametrize("algorithm", ["none", "HS512"])
def test_no_other_algorithm_is_taken(algorithm: str) -> None:
    with pytest.raises(BadToken):
        TOKENS.read(signed(CLAIMS, algorithm=algorithm), KEY, NOW)


def test_a_header_with_nonsense_names_no_key() -> None:
    def part(content: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    nonsense: list[object] = [{"alg": "HS256", "kid": 3}, {}, [], "x", {"alg": "HS256"}]
    for header in nonsense:
        assert key_id_in(f"{part(header)}.{part({})}.xx") is None
    assert key_id_in("a.b.c" * 1000) is None
    assert key_id_in("[" * 1000 + "..") is None


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        Tokens(b"x" * 31)
