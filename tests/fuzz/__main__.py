"""`python -m tests.fuzz`: many inputs, for hours if need be; or one of them again."""

import argparse
import secrets
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.fuzz.runner import Campaign, attempt_once
from tests.fuzz.target import Target
from tests.fuzz.targets.all import EVERY


def main() -> int:
    parser = _parser()
    told = parser.parse_args()
    targets = [target for target in EVERY if told.target is None or target.name in told.target]
    if told.replay is not None:
        if len(targets) != 1:
            parser.error("--replay needs one --target")
        return replay(targets[0], bytes.fromhex(told.replay))
    if told.inputs is None and told.seconds is None:
        parser.error("give --inputs or --seconds")
    with ExitStack() as stack:
        trail = stack.enter_context(told.trail.open("wb")) if told.trail else None
        seed = secrets.randbits(32) if told.seed is None else told.seed
        campaign = Campaign(targets, seed, trail)
        say(f"seed {seed}")
        campaign.run(inputs=told.inputs, seconds=told.seconds, progress=say)
    for finding in campaign.findings:
        say("\n" + finding.told())
    say(f"{campaign.inputs:,} inputs, {len(campaign.findings)} findings, seed {seed}")
    return 1 if campaign.findings else 0


def replay(target: Target, data: bytes) -> int:
    """Try one input again; what it raises is shown."""
    with target.open() as attempt:
        took = attempt_once(target, attempt, data)
    say(f"nothing wrong, in {took:.3f} s")
    return 0


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    names = [target.name for target in EVERY]
    parser.add_argument("--inputs", type=int, help="altogether, shared among the targets")
    parser.add_argument("--seconds", type=float, help="altogether, shared among the targets")
    parser.add_argument("--target", action="append", choices=names, help="only these")
    parser.add_argument("--seed", type=int, help="(default: a new one)")
    parser.add_argument("--replay", metavar="HEX", help="the bytes of one input of one --target")
    parser.add_argument("--trail", type=Path, help="file that tells which input is under way")
    return parser


if __name__ == "__main__":
    sys.exit(main())
