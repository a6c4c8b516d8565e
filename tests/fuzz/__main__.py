"""`python -m tests.fuzz`: many inputs, for hours if need be; or one of them again."""

import argparse
import secrets
import sys

from tests.fuzz.runner import Campaign, attempt_once
from tests.fuzz.targets.all import EVERY


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    names = [target.name for target in EVERY]
    parser.add_argument("--inputs", type=int, help="altogether, shared among the targets")
    parser.add_argument("--seconds", type=float, help="altogether, shared among the targets")
    parser.add_argument("--target", action="append", choices=names, help="only these")
    parser.add_argument("--seed", type=int, default=None, help="(default: a new one)")
    parser.add_argument("--replay", metavar="HEX", help="the bytes of one input of one --target")
    told = parser.parse_args()
    targets = [target for target in EVERY if told.target is None or target.name in told.target]
    if told.replay is not None:
        if len(targets) != 1:
            parser.error("--replay needs one --target")
        with targets[0].open() as attempt:
            took = attempt_once(targets[0], attempt, bytes.fromhex(told.replay))
        print(f"nothing wrong, in {took:.3f} s")
        return 0
    if told.inputs is None and told.seconds is None:
        parser.error("give --inputs or --seconds")
    campaign = Campaign(targets, secrets.randbits(32) if told.seed is None else told.seed)
    print(f"seed {campaign.seed}", flush=True)
    campaign.run(
        inputs=told.inputs,
        seconds=told.seconds,
        progress=lambda line: print(line, flush=True),
    )
    for finding in campaign.findings:
        print("\n" + finding.told())
    print(f"{campaign.inputs:,} inputs, {len(campaign.findings)} findings, seed {campaign.seed}")
    return 1 if campaign.findings else 0


if __name__ == "__main__":
    sys.exit(main())
