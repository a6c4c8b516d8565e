"""`voice nginx`: the configuration of nginx in front of several instances, checked by nginx."""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from services.balancer.plan import ClientLimits, Plan, Tls, Uploads
from services.balancer.process import BalancerFailed, check_configuration
from services.balancer.render import render, render_whole

app = typer.Typer(add_completion=False)

_DEFAULT = ClientLimits()
_GROUP = "default"


@app.command()
def nginx(
    asr: Annotated[
        str, typer.Option(help="HOST:PORT of every ASR instance, comma-separated.")
    ] = "",
    tts: Annotated[
        list[str] | None,
        typer.Option(help="[GROUP=]HOST:PORT,…; again for each engine. The first is the default."),
    ] = None,
    voice: Annotated[
        list[str] | None, typer.Option(help="VOICE=GROUP, where it is not the default group.")
    ] = None,
    listen: Annotated[str, typer.Option(help="PORT or HOST:PORT.")] = "443",
    ipv6: Annotated[bool, typer.Option(help="Listen at that port of [::], too.")] = False,
    inner: Annotated[
        str | None,
        typer.Option(help="Clear text for programs of this machine, beside TLS: 127.0.0.1:PORT."),
    ] = None,
    server_name: str = "_",
    certificate: Annotated[Path | None, typer.Option(help="Chain, PEM. With --key: TLS.")] = None,
    key: Annotated[Path | None, typer.Option(help="Private key, PEM.")] = None,
    plain: Annotated[bool, typer.Option(help="No TLS: something else does it.")] = False,
    status: Annotated[str | None, typer.Option(help="Where nginx's counters are told.")] = None,
    access_log: Path | None = None,
    address_connections: Annotated[int, typer.Option(help="0: no limit.")] = (
        _DEFAULT.address_connections
    ),
    address_rate: Annotated[int, typer.Option(help="New ones a second; 0: no limit.")] = (
        _DEFAULT.address_rate
    ),
    key_connections: Annotated[int, typer.Option(help="0: no limit.")] = _DEFAULT.key_connections,
    key_rate: Annotated[int, typer.Option(help="New ones a second; 0: no limit.")] = (
        _DEFAULT.key_rate
    ),
    trust: Annotated[
        list[str] | None,
        typer.Option(help="Network without limits, beside loopback; may ask /health/ready."),
    ] = None,
    trust_loopback: Annotated[
        bool, typer.Option(help="Not where a proxy on this machine passes on bytes, not requests.")
    ] = True,
    behind: Annotated[
        list[str] | None,
        typer.Option(help="Network of a proxy in front, whose X-Forwarded-For counts."),
    ] = None,
    asr_upload_mb: int = Uploads().asr_mb,
    tts_upload_mb: int = Uploads().tts_mb,
    whole: Annotated[
        Path | None, typer.Option(help="Render a whole nginx.conf, whose files are in this folder.")
    ] = None,
    check: Annotated[bool, typer.Option(help="Ask nginx -t, where it is installed.")] = True,
    out: Annotated[Path | None, typer.Option(help="Write here instead of to stdout.")] = None,
) -> None:
    """Render nginx's configuration for these instances, of one service or both.

    One ASR and one TTS instance, without TLS:
    voice nginx --asr 127.0.0.1:8001 --tts 127.0.0.1:8002 --plain --listen 8080
    """
    try:
        plan = Plan(
            asr=tuple(_split(asr)),
            tts=_groups(tts or []),
            voices=_pairs(voice or [], "--voice", "VOICE=GROUP"),
            listen=listen,
            ipv6=ipv6,
            inner=inner,
            server_name=server_name,
            tls=_tls(certificate, key, plain),
            behind=tuple(behind or []),
            status=status,
            access_log=access_log,
            uploads=Uploads(asr_mb=asr_upload_mb, tts_mb=tts_upload_mb),
            limits=ClientLimits(
                address_connections=address_connections,
                address_rate=address_rate,
                address_burst=3 * address_rate,
                key_connections=key_connections,
                key_rate=key_rate,
                key_burst=2 * key_rate,
                trusted=(*(_DEFAULT.trusted if trust_loopback else ()), *(trust or [])),
            ),
        )
        text = render_whole(plan, whole.absolute()) if whole else render(plan)
        if check:
            _check(plan)
    except ValidationError as error:
        raise _refusal(_told(error)) from None
    except (ValueError, BalancerFailed) as error:
        raise _refusal(str(error)) from None
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")


def _check(plan: Plan) -> None:
    """Let nginx read it, in a whole configuration of its own."""
    with tempfile.TemporaryDirectory(prefix="voice-nginx-") as folder:
        prefix = Path(folder)
        path = prefix / "nginx.conf"
        path.write_text(render_whole(plan, prefix), encoding="utf-8")
        asyncio.run(check_configuration(path, prefix))


def _tls(certificate: Path | None, key: Path | None, plain: bool) -> Tls | None:
    if plain:
        if certificate or key:
            raise ValueError("--plain: without TLS there is nothing to do for a certificate")
        return None
    if certificate is None or key is None:
        raise ValueError(
            "--certificate and --key are wanted; keys and voices in clear text only with --plain"
        )
    return Tls(certificate=certificate, key=key)


def _split(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _groups(options: list[str]) -> dict[str, tuple[str, ...]]:
    groups: dict[str, tuple[str, ...]] = {}
    for option in options:
        name, equals, instances = option.partition("=")
        if not equals:
            name, instances = _GROUP, option
        groups[name] = (*groups.get(name, ()), *_split(instances))
    return groups


def _pairs(options: list[str], option: str, form: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for each in options:
        name, equals, value = each.partition("=")
        if not equals or name in pairs:
            raise ValueError(f"{option} {each}: {form} is wanted, each once")
        pairs[name] = value
    return pairs


def _told(error: ValidationError) -> str:
    """What is wrong, and where, without the whole plan."""
    faults = (
        (".".join(str(step) for step in fault["loc"]), fault["msg"].removeprefix("Value error, "))
        for fault in error.errors()
    )
    return "; ".join(f"{where}: {what}" if where else what for where, what in faults)


def _refusal(sentence: str) -> typer.Exit:
    typer.echo(f"voice nginx: {sentence}", err=True)
    return typer.Exit(2)
