"""Who may come in, and who must not be let in by mistake."""

import asyncio
import contextlib
import gc
import hashlib
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from starlette.requests import HTTPConnection

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.runtime.auth import Grant, KeyRing, offered_key
from services.shared.runtime.config import ConfigError
from services.shared.runtime.keys import ALL_SCOPES, KeyLimits, KeyRecord, Scope, new_key
from services.shared.runtime.quotas import Account, Use
from services.shared.runtime.tokens import Tokens
from tests.services.serving import eventually

RING = KeyRing(["red", "blue"])
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TOKENS = Tokens(b"s" * 32)


def connection(
    authorization: str | None = None, subprotocols: list[str] | None = None
) -> HTTPConnection:
    headers = []
    if authorization is not None:
        headers.append((b"authorization", authorization.encode("latin-1")))
    scope = {"type": "websocket", "headers": headers, "subprotocols": subprotocols or []}
    return HTTPConnection(scope)


@pytest.mark.parametrize(
    ("offer", "key"),
    [
        (connection("Bearer blue"), "blue"),
        (connection("bearer   blue "), "blue"),
        (connection(subprotocols=["voice", "blue"]), "blue"),
        (connection("Bearer red", ["voice", "blue"]), "red"),
        (connection("Basic blue"), None),
        (connection("Bearer"), None),
        (connection("Bearer "), None),
        (connection("blue"), None),
        (connection(""), None),
        (connection(subprotocols=["voice"]), None),
        (connection(subprotocols=["blue", "voice"]), None),
        (connection(subprotocols=["voice", "blue", "more"]), None),
        (connection(), None),
    ],
)
def test_where_a_key_is_looked_for(offer: HTTPConnection, key: str | None) -> None:
    assert offered_key(offer) == key


def test_accepted_keys_open() -> None:
    for key in ("red", "blue"):
        assert RING.check(connection(f"Bearer {key}"), Scope.ASR).scopes == ALL_SCOPES


@pytest.mark.parametrize("key", ["green", "re", "redd", "Red", "red blue", "é", "x" * 10_000])
def test_other_keys_do_not(key: str) -> None:
    with pytest.raises(ProtocolError, match="not accepted") as caught:
        RING.check(connection(f"Bearer {key}"), Scope.ASR)
    assert caught.value.code is ErrorCode.UNAUTHORIZED
    assert key not in caught.value.message


def test_who_offers_none_is_told_how() -> None:
    with pytest.raises(ProtocolError, match="Authorization: Bearer KEY"):
        RING.check(connection(), Scope.ASR)


def test_without_keys_everybody_may_come() -> None:
    grant = KeyRing([]).check(connection(), Scope.LEXICON)
    assert (grant.owner, grant.holder) == ("public", None)
    grant.spend(Use.AUDIO_S, 1e9)


def test_a_plain_key_stands_for_an_owner_without_being_told() -> None:
    """As it always did: so that voices stored for it are found."""
    ring = KeyRing(["ada", "bob"])
    ada, bob = (ring.check(connection(f"Bearer {key}"), Scope.TTS) for key in ("ada", "bob"))
    assert len({ada.owner, bob.owner, "public"}) == 3
    assert ring.check(connection("Bearer ada"), Scope.TTS).owner == ada.owner
    digest = hashlib.sha256(b"ada").digest()
    assert ada.owner == hashlib.sha256(b"owner:" + digest).hexdigest()[:32]
    assert digest.hex()[:32] not in (ada.owner, ada.key_id)


class Clock:
    """Noon, unless told otherwise."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now.timestamp()

    def after(self, **spans: float) -> None:
        self.now += timedelta(**spans)


class Door:
    """A ring with one key, and who comes with it."""

    def __init__(self, **about: object) -> None:
        about = {"scopes": (Scope.ASR, Scope.TTS), "now": NOON} | about
        self.clock = Clock()
        self.key, self.record = new_key("Ada's", **about)  # type: ignore[arg-type]
        self.ring = KeyRing(records=[self.record], tokens=TOKENS, clock=self.clock)

    def enter(self, offered: str | None = None, scope: Scope = Scope.ASR) -> Grant:
        return self.ring.check(connection(f"Bearer {offered or self.key}"), scope)

    def change(self, **about: object) -> None:
        self.ring.replace([self.record.model_copy(update=about)])

    def token(self, *scopes: Scope, ttl_s: int = 60) -> str:
        return TOKENS.sign(self.record, frozenset(scopes), ttl_s, self.clock())[0]


@contextlib.contextmanager
def refused(code: ErrorCode, sentence: str | None = None) -> Iterator[None]:
    with pytest.raises(ProtocolError, match=sentence) as caught:
        yield
    assert caught.value.code is code


def test_a_key_is_good_for_its_scopes() -> None:
    door = Door(owner="acme")
    grant = door.enter()
    assert (grant.owner, grant.key_id, grant.limits()) == ("acme", door.record.id, KeyLimits())
    with refused(ErrorCode.FORBIDDEN, "needs the scope voices; what was offered has asr, tts"):
        door.enter(scope=Scope.VOICES)
    door.ring.check(connection(f"Bearer {door.key}"), Scope.VOICES, Scope.TTS)


def test_a_key_expires_and_is_revoked() -> None:
    door = Door(expires_at=NOON + timedelta(hours=1))
    door.enter()
    door.clock.after(hours=1)
    with refused(ErrorCode.UNAUTHORIZED, "expired at 2026-11-21T13:00:00"):
        door.enter()
    door.change(expires_at=None, revoked_at=NOON)
    with refused(ErrorCode.UNAUTHORIZED, "was revoked"):
        door.enter()


def test_who_is_in_is_out_once_the_key_is_revoked() -> None:
    door = Door()
    grant = door.enter()
    grant.spend(Use.AUDIO_S, 1)
    door.change(revoked_at=NOON)
    for act in (lambda: grant.spend(Use.AUDIO_S, 1), grant.session, grant.limits):
        with refused(ErrorCode.UNAUTHORIZED, "revoked"):
            act()
    door.ring.replace([])
    assert door.ring, "without any key the door stays locked"
    with refused(ErrorCode.UNAUTHORIZED):
        grant.spend(Use.CHARACTERS, 1)


def test_limits_are_those_of_the_file_as_it_is_now() -> None:
    door = Door(limits=KeyLimits(characters_per_day=10, audio_minutes_per_day=1, sessions=1))
    grant = door.enter()
    grant.spend(Use.CHARACTERS, 10)
    grant.spend(Use.AUDIO_S, 60)
    for use in Use:
        with refused(ErrorCode.QUOTA_EXCEEDED, "a day"):
            grant.spend(use, 0.5)
    with grant.session(), refused(ErrorCode.QUOTA_EXCEEDED, "1 sessions"), grant.session():
        pass
    door.change(limits=KeyLimits(characters_per_day=20))
    grant.spend(Use.CHARACTERS, 10)
    grant.spend(Use.AUDIO_S, 10_000)


def test_a_token_opens_what_its_key_opens_and_it_names() -> None:
    door = Door(owner="acme")
    token = door.token(Scope.TTS, Scope.VOICES)
    grant = door.enter(token, Scope.TTS)
    assert (grant.owner, grant.scopes) == ("acme", frozenset({Scope.TTS}))
    assert grant.holder == door.enter().holder
    with refused(ErrorCode.FORBIDDEN):
        door.enter(token, Scope.ASR)
    with refused(ErrorCode.FORBIDDEN):
        door.enter(token, Scope.VOICES)
    assert door.ring.check(connection(subprotocols=["voice", token]), Scope.TTS).ticket


def test_a_token_ends_with_its_time_and_with_its_key() -> None:
    door = Door()
    token = door.token(Scope.ASR)
    door.enter(token)
    door.clock.after(seconds=60)
    with refused(ErrorCode.UNAUTHORIZED, "token has expired"):
        door.enter(token)
    token = door.token(Scope.ASR)
    grant = door.enter(token)
    door.change(revoked_at=door.clock.now)
    with refused(ErrorCode.UNAUTHORIZED, "was revoked"):
        door.enter(token)
    with refused(ErrorCode.UNAUTHORIZED, "was revoked"):
        grant.spend(Use.AUDIO_S, 1)
    door.ring.replace([])
    with refused(ErrorCode.UNAUTHORIZED, "not accepted"):
        door.enter(token)


def test_a_token_of_another_secret_or_without_one_is_none() -> None:
    door = Door()
    other = Tokens(b"o" * 32).sign(door.record, frozenset({Scope.ASR}), 60, door.clock())[0]
    with refused(ErrorCode.UNAUTHORIZED, "not accepted"):
        door.enter(other)
    with refused(ErrorCode.UNAUTHORIZED, "not accepted"):
        KeyRing(records=[door.record], clock=door.clock).check(
            connection(f"Bearer {door.token(Scope.ASR)}"), Scope.ASR
        )


def test_a_key_of_both_lists_is_the_one_of_the_file() -> None:
    door = Door(limits=KeyLimits(voices=3))
    ring = KeyRing([door.key], [door.record])
    assert ring.check(connection(f"Bearer {door.key}"), Scope.TTS).limits().voices == 3


def test_tokens_that_have_expired_are_forgotten_but_not_looked_for_with_each_new_one() -> None:
    """A page a token: tens of thousands in an hour."""
    door = Door()
    asked = [0]

    def clock() -> float:
        asked[0] += 1
        return door.clock()

    def use(count: int) -> list[weakref.ref[Account]]:
        grants = [door.enter(door.token(Scope.ASR)) for _ in range(count)]
        asked[0] = 0
        return [weakref.ref(door.ring.charged(grant)[0][0]) for grant in grants]

    door.ring.now = clock
    early = use(1000)
    assert asked[0] <= 1010, "once for each, and a few times for all"
    door.clock.after(seconds=61)
    use(2000)
    gc.collect()
    assert not any(account() for account in early)


async def test_changed_keys_are_taken_and_broken_ones_are_not() -> None:
    changes: list[list[KeyRecord] | None | Exception] = [None, ConfigError("half written"), []]
    door = Door()

    def changed() -> list[KeyRecord] | None:
        change = changes.pop(0)
        if isinstance(change, Exception):
            raise change
        return change

    ring = KeyRing(records=[door.record], changed=changed, clock=door.clock)
    watching = asyncio.create_task(ring.watch(every_s=0.02))
    while len(changes) > 1:
        await asyncio.sleep(0)
        ring.check(connection(f"Bearer {door.key}"), Scope.ASR)

    def taken() -> bool:
        with contextlib.suppress(ProtocolError):
            ring.check(connection(f"Bearer {door.key}"), Scope.ASR)
            return False
        return True

    await eventually(taken)
    with refused(ErrorCode.UNAUTHORIZED, "not accepted"):
        ring.check(connection(f"Bearer {door.key}"), Scope.ASR)
    watching.cancel()
