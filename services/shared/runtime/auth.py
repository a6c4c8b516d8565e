"""Who may come in: `Authorization: Bearer KEY`, or the subprotocols `voice, KEY` for browsers.

Instead of a key a token may be offered that the key signed. Both become a :class:`Grant`, which
says what its bearer may do, who is charged for it and to whom belongs what comes of it.
"""

import asyncio
import contextlib
import hmac
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from starlette.requests import HTTPConnection

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.runtime import quotas
from services.shared.runtime.keys import (
    ALL_SCOPES,
    KeyLimits,
    KeyRecord,
    Scope,
    digest_of,
    plain_record,
)
from services.shared.runtime.quotas import Account, Allowance, Charged, Use
from services.shared.runtime.tokens import BadToken, Ticket, Tokens, key_id_in

log = structlog.get_logger(__name__)

SUBPROTOCOL = "voice"
"""Browsers cannot set headers on a WebSocket: they offer the subprotocols `voice` and the key."""
RELOAD_S = 2.0
"""How often it is looked whether the keys have changed."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody who came in may do. Without keys everybody is `public` and may do all."""

    key_id: str = "public"
    """Stands for the key in logs and records; no secret."""
    owner: str = "public"
    """Whose the things are that are made with it."""
    scopes: frozenset[Scope] = ALL_SCOPES
    holder: bytes | None = None
    """Who comes back must be the same."""
    ticket: Ticket | None = None
    """Of a token."""
    ring: "KeyRing | None" = field(default=None, repr=False)
    """None: nothing is counted."""

    def session(self, use: Use | None = None) -> AbstractContextManager[None]:
        """Count one session or request in and out.

        Args:
            use: what it will use, of which something must be left.

        Raises:
            ProtocolError: `quota_exceeded`, or `unauthorized` as :meth:`spend`.
        """
        if self.ring is None:
            return contextlib.nullcontext()
        return quotas.session(self.ring.charged(self), use, self.ring.now())

    def spend(self, use: Use, amount: float) -> None:
        """Count what is about to be used.

        Raises:
            ProtocolError: `quota_exceeded`, or `unauthorized`: the key was revoked meanwhile.
        """
        if self.ring is not None:
            quotas.spend(self.ring.charged(self), use, amount, self.ring.now())

    def come_back(self, sessions: int) -> None:
        """Count an attempt to go on with one of so many sessions at most.

        Raises:
            ProtocolError: `quota_exceeded`, or `unauthorized` as :meth:`spend`.
        """
        if self.ring is not None:
            quotas.come_back(self.ring.charged(self), sessions, self.ring.now())

    def limits(self) -> KeyLimits:
        """Those of the key. Raises ProtocolError `unauthorized`: it was revoked meanwhile."""
        return KeyLimits() if self.ring is None else self.ring.record(self.key_id).limits


PUBLIC = Grant()
_FEW_TICKETS = 256
USED_BY = {Scope.ASR: Use.AUDIO_S, Scope.TTS: Use.CHARACTERS}
"""What sessions use."""


class KeyRing:
    """The keys that are in force, by their digests, and what was used with them.

    Args:
        plain: keys of a plain list, which may do everything.
        records: keys of a keys file.
        locked: stay locked also without any key.
        tokens: signs and reads tokens; None: there are none.
        changed: gives the keys anew when they have changed, else None. Blocks; raises ConfigError.
    """

    def __init__(
        self,
        plain: Iterable[str] = (),
        records: Iterable[KeyRecord] = (),
        *,
        locked: bool = False,
        tokens: Tokens | None = None,
        changed: "Callable[[], Iterable[KeyRecord] | None] | None" = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.tokens = tokens
        self.now = clock
        self._changed = changed
        self._records: dict[str, KeyRecord] = {}
        self._digests: list[tuple[bytes, KeyRecord]] = []
        self.replace([*records, *map(plain_record, plain)])
        # For good: whoever revokes the last key does not want the door open.
        self._locked = locked or bool(self._records)
        self._accounts: dict[str, Account] = {}
        self._tickets: dict[str, tuple[int, Account]] = {}
        """Of tokens, with the time when they expire."""
        self._sweep_at = _FEW_TICKETS

    def __bool__(self) -> bool:
        """Is a key asked for?"""
        return self._locked

    def replace(self, records: Iterable[KeyRecord]) -> None:
        """Put other keys in force. Of two with one id the first counts."""
        self._records = {}
        for record in records:
            self._records.setdefault(record.id, record)
        self._digests = [(record.digest, record) for record in self._records.values()]

    async def watch(self, every_s: float = RELOAD_S) -> None:
        """Follow changes of the keys for ever; run as a task of the service's lifespan."""
        told = ""
        while self._changed is not None:
            await asyncio.sleep(every_s)
            try:
                records = await asyncio.to_thread(self._changed)
            except Exception as error:  # noqa: BLE001 - whatever it is, the keys of before go on
                if str(error) != told:
                    told = str(error)
                    log.error("the keys cannot be read; those of before stay", error=told)
                continue
            if records is not None:
                told = ""
                self.replace(records)
                log.info("the keys were read again", keys=len(self._records))

    def check(self, connection: HTTPConnection, *scopes: Scope) -> Grant:
        """What may be done over this connection.

        Raises:
            ProtocolError: `unauthorized` without an accepted key or token, `forbidden` when it is
                good for none of `scopes`.
        """
        offered = offered_key(connection)
        if not self._locked:
            # Who offers a key that nobody asked for can still be told from others.
            return PUBLIC if offered is None else Grant(holder=digest_of(offered))
        if offered is None:
            raise ProtocolError(
                ErrorCode.UNAUTHORIZED,
                "an API key is required: send the header 'Authorization: Bearer KEY', "
                "or from a browser the WebSocket subprotocols 'voice' and the key",
            )
        grant = self._recognised(offered)
        if grant.scopes.isdisjoint(scopes):
            raise ProtocolError(
                ErrorCode.FORBIDDEN,
                f"this needs the scope {' or '.join(scopes)}; what was offered has "
                f"{', '.join(sorted(grant.scopes)) or 'none'}",
            )
        return grant

    def record(self, key_id: str) -> KeyRecord:
        """The key as it is now. Raises ProtocolError `unauthorized`: it opens nothing any more."""
        record = self._records.get(key_id)
        trouble = record.trouble(self._utc()) if record is not None else "was revoked"
        if record is None or trouble is not None:
            raise ProtocolError(ErrorCode.UNAUTHORIZED, f"the API key {trouble}")
        return record

    def charged(self, grant: Grant) -> Charged:
        """Who is charged, with what they may use. Raises as :meth:`record`."""
        limits = self.record(grant.key_id).limits
        minutes = limits.audio_minutes_per_day
        allowance = Allowance(
            limits.sessions, None if minutes is None else minutes * 60, limits.characters_per_day
        )
        account = self._accounts.setdefault(grant.key_id, Account(daily=True))
        if grant.ticket is None:
            return ((account, allowance),)
        return (self._ticket_account(grant.ticket), grant.ticket.allowance), (account, allowance)

    def _recognised(self, offered: str) -> Grant:
        given = digest_of(offered)
        # No early exit: the time must not tell which key came close.
        found = [record for known, record in self._digests if hmac.compare_digest(given, known)]
        if found:
            record = self.record(found[0].id)
            return self._grant(record, record.scopes, None)
        record_id = key_id_in(offered) if self.tokens is not None else None
        if self.tokens is None or record_id is None or record_id not in self._records:
            raise ProtocolError(ErrorCode.UNAUTHORIZED, "the API key is not accepted")
        record = self.record(record_id)
        try:
            ticket = self.tokens.read(offered, record, self.now())
        except BadToken as error:
            raise ProtocolError(ErrorCode.UNAUTHORIZED, str(error)) from None
        # A token makes no others: they would outlive it.
        return self._grant(record, (record.scopes & ticket.scopes) - {Scope.TOKENS}, ticket)

    def _grant(self, record: KeyRecord, scopes: frozenset[Scope], ticket: Ticket | None) -> Grant:
        # A token may be replaced while a session lasts, so whoever comes back need only be of the
        # same key. Whose session it is, its id tells, which cannot be guessed.
        holder = record.id.encode()
        return Grant(record.id, record.owner, scopes, holder, ticket, self)

    def _ticket_account(self, ticket: Ticket) -> Account:
        known = self._tickets.get(ticket.id)
        if known is None:
            if len(self._tickets) >= self._sweep_at:
                self._forget_tickets()
            known = self._tickets[ticket.id] = ticket.expires_at, Account(daily=False)
        return known[1]

    def _forget_tickets(self) -> None:
        now = self.now()
        gone = [
            ticket_id
            for ticket_id, (expires_at, account) in self._tickets.items()
            if expires_at <= now and account.sessions == 0
        ]
        for ticket_id in gone:
            del self._tickets[ticket_id]
        # Not each time: where every page has a token of its own there are tens of thousands.
        self._sweep_at = 2 * len(self._tickets) + _FEW_TICKETS

    def _utc(self) -> datetime:
        return datetime.fromtimestamp(self.now(), UTC)


def offered_key(connection: HTTPConnection) -> str | None:
    """The key or token that a connection carries."""
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    offered = connection.scope.get("subprotocols") or []
    if len(offered) == 2 and offered[0] == SUBPROTOCOL:
        return str(offered[1])
    return None
