"""Runs targets over many inputs, each of which can be made again from its target, seed and number.

A finding is told with its bytes, made as small as deleting and zeroing can.
"""

import faulthandler
import os
import random
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from tests.fuzz.source import Source
from tests.fuzz.target import Target, Try, Violation, quiet

HANG_S = 120.0
"""After so long without an end to an input the process says where it is, and dies."""
_ARM_EVERY_S = 5.0
_SHRINK_S = 20.0
_MOST_FINDINGS = 5


def input_bytes(target: Target, seed: int, number: int) -> bytes:
    """The bytes of one input; short ones are as likely as long ones."""
    chance = random.Random(f"{target.name}/{seed}/{number}")
    size = int(target.most_bytes ** chance.random()) if number % 2 else target.most_bytes
    return chance.randbytes(size)


@dataclass
class Finding:
    """An input that did what no input may."""

    target: str
    number: int
    data: bytes
    error: BaseException

    def told(self) -> str:
        shown = "".join(traceback.format_exception(self.error))
        return (
            f"{self.target} input {self.number}: {type(self.error).__name__}: {self.error}\n{shown}"
            f"  again: python -m tests.fuzz --target {self.target} --replay {self.data.hex()}\n"
        )


@dataclass
class Count:
    """What became of one target."""

    inputs: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    findings: list[Finding] = field(default_factory=list)


class TooSlow(Violation):
    """The input took longer than one may."""


def attempt_once(target: Target, attempt: Try, data: bytes) -> float:
    """Try one input.

    Returns:
        seconds that it took: of CPU, or of wall clock where others work for it.

    Raises:
        TooSlow: longer than permitted. Anything else: what the target raised.
    """
    clock = time.monotonic if target.waits else time.thread_time
    began = clock()
    attempt(Source(data))
    took = clock() - began
    if took > target.limit_s:
        raise TooSlow(f"{took:.2f} s, where {target.limit_s:g} s are permitted")
    return took


class Campaign:
    """Some targets, a seed, and what was found.

    Args:
        trail: a file that tells which input is under way, for those that end the process.
    """

    def __init__(self, targets: Sequence[Target], seed: int, trail: BinaryIO | None = None) -> None:
        self.seed = seed
        self._trail = trail
        self.counts: dict[str, Count] = {target.name: Count() for target in targets}
        self._targets = {target.name: target for target in targets}
        self._armed_at = -_ARM_EVERY_S

    @property
    def inputs(self) -> int:
        return sum(count.inputs for count in self.counts.values())

    @property
    def findings(self) -> list[Finding]:
        return [finding for count in self.counts.values() for finding in count.findings]

    def run(
        self,
        *,
        inputs: int | None = None,
        seconds: float | None = None,
        progress: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Give every target its share of so many inputs, or of so much time."""
        shares = sum(target.share for target in self._targets.values())
        for target in self._targets.values():
            part = target.share / shares
            most = None if inputs is None else max(1, round(inputs * part))
            end = None if seconds is None else time.monotonic() + seconds * part
            self._run_target(target, most, end)
            progress(self.line(target.name))

    def line(self, name: str) -> str:
        count = self.counts[name]
        rate = count.inputs / count.seconds if count.seconds else 0.0
        return (
            f"{name:24} {count.inputs:8,} inputs  {count.seconds:7.1f} s  {rate:8.0f}/s  "
            f"slowest {count.slowest_s * 1000:6.0f} ms  {len(count.findings)} findings"
        )

    def _run_target(self, target: Target, most: int | None, end: float | None) -> None:
        count, began = self.counts[target.name], time.monotonic()
        try:
            with quiet(), target.open() as attempt:
                self._try_all(target, attempt, most, end)
        except Exception as error:  # noqa: BLE001 - it was harmed, but by which input nobody knows
            count.findings.append(Finding(target.name, count.inputs, b"", error))
        faulthandler.cancel_dump_traceback_later()
        count.seconds += time.monotonic() - began

    def _try_all(self, target: Target, attempt: Try, most: int | None, end: float | None) -> None:
        count = self.counts[target.name]
        while (most is None or count.inputs < most) and (end is None or time.monotonic() < end):
            data = input_bytes(target, self.seed, count.inputs)
            self._watch(f"{target.name} input {count.inputs} of seed {self.seed}")
            try:
                took = attempt_once(target, attempt, data)
                count.slowest_s = max(count.slowest_s, took)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
                count.findings.append(self._finding(target, attempt, count.inputs, data, error))
            count.inputs += 1
            if len(count.findings) >= _MOST_FINDINGS:
                return

    def _watch(self, what: str) -> None:
        """Also code that holds the interpreter for ever is found, or that ends the process."""
        if self._trail is not None:
            os.pwrite(self._trail.fileno(), f"{what:80}\n".encode(), 0)
        if time.monotonic() - self._armed_at >= _ARM_EVERY_S:
            self._armed_at = time.monotonic()
            faulthandler.dump_traceback_later(HANG_S, exit=True, file=2)  # also under pytest

    def _finding(
        self, target: Target, attempt: Try, number: int, data: bytes, error: Exception
    ) -> Finding:
        if not target.waits:
            data, error = shrunk(target, attempt, data, error)
        return Finding(target.name, number, data, error)


def shrunk(target: Target, attempt: Try, data: bytes, error: Exception) -> tuple[bytes, Exception]:
    """Less that fails in the same way."""
    end = time.monotonic() + _SHRINK_S
    size = len(data)
    while size and time.monotonic() < end:
        at, before = 0, data
        while at < len(data) and time.monotonic() < end:
            for smaller in _smaller(data, at, size):
                again = failure(target, attempt, smaller)
                if again is not None and type(again) is type(error):
                    data, error = smaller, again
                    break
            else:
                at += size
        if size > 1 or data == before:  # byte by byte as long as that helps
            size //= 2
    return data, error


def _smaller(data: bytes, at: int, size: int) -> Iterable[bytes]:
    yield data[:at] + data[at + size :]
    if any(data[at : at + size]):
        yield data[:at] + bytes(len(data[at : at + size])) + data[at + size :]


def failure(target: Target, attempt: Try, data: bytes) -> Exception | None:
    """What this input raises, if anything."""
    try:
        attempt_once(target, attempt, data)
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    return None
