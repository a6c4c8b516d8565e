"""From a plan to nginx's configuration. Pure: templates in, text out."""

import re
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

from services.balancer.plan import ClientLimits, Plan, is_local

_REMOTE = "max_fails=2 fail_timeout=2s"
"""A machine that is down costs a connect timeout: two callers, then one now and then."""
_LOCAL = "max_fails=0"
"""A dead process on this machine refuses in microseconds. To count that keeps callers away when it
is back: nginx clears the count only when a connection ends, and these last minutes."""
_KEPT = 32
"""Idle connections to instances that are kept for HTTP requests, in each worker."""


_HSTS = 'add_header Strict-Transport-Security "max-age=63072000" always;\n'
_OWN_ANSWER = (  # a location with headers of its own has none of the server's
    "default_type application/json;\n",
    "add_header X-Request-ID $voice_request_id always;\n",
    "add_header Access-Control-Allow-Origin * always;\n",
    "add_header Access-Control-Expose-Headers 'Retry-After, X-Request-ID' always;\n",
)
_ASKS_READINESS = (
    "access_log off;\n",
    "proxy_connect_timeout 500ms;\n",
    "proxy_read_timeout 1s;\n",
    "proxy_next_upstream_timeout 1500ms;\n",
    "error_page 502 504 =504 @voice_unreachable;\n",  # 503 is what an instance says of itself
)
_CONNECTIONS = ("active", "reading", "writing", "waiting")
"""What stub_status has as variables; the metrics are named as nginx's own exporter names them."""
_FIELD = re.compile(r"@\{([a-z_]+)\}")
"""nginx's own variables begin with `$`, and its named locations are not in braces."""


def render(plan: Plan) -> str:
    """The configuration for nginx's http context: a file of `/etc/nginx/conf.d`."""
    others = [name for name in plan.tts if name != plan.default_tts]
    default_tts = f"voice_tts_{plan.default_tts}" if plan.tts else "''"
    hsts = _HSTS if plan.tls else ""
    return _filled(
        "voice.conf.in",
        default_tts=default_tts,
        voice_map=_lines(f"{_key(voice)} voice_tts_{plan.voices[voice]};" for voice in plan.voices),
        engine_map=_lines(f"{_key(name)} voice_tts_{name};" for name in plan.tts),
        trusted=_lines(f"{network} 1;" for network in plan.limits.trusted),
        asked=_lines(_asked(plan)),
        limit_zones=_limit_zones(plan.limits),
        limits=_limits(plan.limits),
        upstreams="\n".join(_upstreams(plan)),
        status_server=_status_server(plan),
        redirect_server=_redirect_server(plan),
        listens=_lines(_listens(plan)),
        server_name=plan.server_name,
        tls=_tls(plan),
        hsts=f"    {hsts}" if hsts else "",
        own_answer="".join(f"        {line}" for line in (*_OWN_ANSWER, hsts) if line),
        trust_forwarded="$voice_trusted_address" if plan.behind else "0",
        behind=_behind(plan),
        access_log=f"{plan.access_log} voice_json" if plan.access_log else "off",
        asr_locations=_filled("asr.conf.in", asr_mb=str(plan.uploads.asr_mb)) if plan.asr else "",
        tts_locations=_filled("tts.conf.in", tts_mb=str(plan.uploads.tts_mb)) if plan.tts else "",
        tokens="voice_asr" if plan.asr else default_tts,
        asks_readiness="".join(f"        {line}" for line in _ASKS_READINESS),
        engine_locations="".join(_engine_location(name, plan) for name in others),
    )


def render_whole(
    plan: Plan,
    prefix: Path,
    *,
    workers: int = 2,
    error_log: str = "stderr",
    user: str | None = None,
) -> str:
    """The configuration of an nginx of one's own, with everything it writes under `prefix`.

    Args:
        user: who its workers are when root starts it; they must reach `prefix`.
    """
    site = "".join(
        f"    {line}" if line.strip() else line for line in render(plan).splitlines(True)
    )
    return _filled(
        "nginx.conf.in",
        prefix=str(prefix),
        error_log=error_log,
        workers=str(workers),
        user=f"user {user};\n" if user else "",
        site=site,
    )


def _filled(template: str, **values: str) -> str:
    text = (files("services.balancer") / template).read_text(encoding="utf-8")
    return _FIELD.sub(lambda field: values[field[1]], text)


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"    {line}\n" for line in lines)


def _key(word: str) -> str:
    """A word as it stands in a map, where some have a meaning of their own."""
    return f"\\{word}" if word in ("default", "hostnames", "include", "volatile") else word


def _asked(plan: Plan) -> Iterator[str]:
    if plan.asr:
        yield "1:asr   ready_voice_asr;"
    if plan.tts:
        yield "1:tts   ready_$voice_tts;"


def _upstreams(plan: Plan) -> Iterator[str]:
    groups = {"voice_asr": plan.asr} if plan.asr else {}
    groups |= {f"voice_tts_{name}": instances for name, instances in plan.tts.items()}
    for name, instances in groups.items():
        yield _upstream(name, instances)
    for name, instances in groups.items():
        yield _asked_upstream(f"ready_{name}", instances)


def _upstream(name: str, instances: tuple[str, ...]) -> str:
    servers = "".join(
        f"    server {address} {_LOCAL if is_local(address) else _REMOTE};\n"
        for address in instances
    )
    return (
        f"upstream {name} {{\n    zone {name} 256k;\n    least_conn;\n{servers}"
        # Below the 30 s after which the services close idle connections: no request meets its end.
        f"    keepalive {_KEPT};\n    keepalive_timeout 20s;\n}}\n"
    )


def _asked_upstream(name: str, instances: tuple[str, ...]) -> str:
    """The same instances, for questions: a full one that says so each second is not counted out
    for those who come back to their session there."""
    servers = "".join(f"    server {address} max_fails=0;\n" for address in instances)
    return f"upstream {name} {{\n    zone {name} 256k;\n{servers}    keepalive 2;\n}}\n"


def _limit_zones(limits: ClientLimits) -> str:
    zones = []
    if limits.address_connections:
        zones.append("limit_conn_zone $voice_by_address zone=voice_address_conn:10m;")
    if limits.key_connections:
        zones.append("limit_conn_zone $voice_by_key zone=voice_key_conn:10m;")
    if limits.address_rate:
        rate = f"rate={limits.address_rate}r/s"
        zones.append(f"limit_req_zone $voice_by_address zone=voice_address_rate:10m {rate};")
    if limits.key_rate:
        rate = f"rate={limits.key_rate}r/s"
        zones.append(f"limit_req_zone $voice_by_key zone=voice_key_rate:10m {rate};")
    return "".join(f"{zone}\n" for zone in zones)


def _limits(limits: ClientLimits) -> str:
    found = ["limit_conn_status 529;", "limit_req_status 529;"]
    if limits.address_connections:
        found.append(f"limit_conn voice_address_conn {limits.address_connections};")
    if limits.key_connections:
        found.append(f"limit_conn voice_key_conn {limits.key_connections};")
    if limits.address_rate:
        found.append(f"limit_req zone=voice_address_rate{_burst(limits.address_burst)};")
    if limits.key_rate:
        found.append(f"limit_req zone=voice_key_rate{_burst(limits.key_burst)};")
    return "".join(f"    {line}\n" for line in found)


def _burst(requests: int) -> str:
    return f" burst={requests} nodelay" if requests else ""


def _status_server(plan: Plan) -> str:
    if plan.status is None:
        return ""
    return (
        f"\nserver {{                                       # nginx's counters, for the operator\n"
        f"    listen {plan.status};\n    access_log off;\n"
        "    location = /status { stub_status; }\n"
        "    location = /metrics {\n        default_type 'text/plain; version=0.0.4';\n"
        f"        return 200 '{_metrics()}';\n    }}\n"
        "    location / { return 404; }\n}\n"
    )


def _metrics() -> str:
    """For Prometheus; nginx puts in the numbers, and a line's end for `\\n`."""
    return "".join(
        f"# TYPE nginx_connections_{name} gauge\\nnginx_connections_{name} $connections_{name}\\n"
        for name in _CONNECTIONS
    )


def _listens(plan: Plan) -> Iterator[str]:
    yield from _everywhere(plan.listen, plan.ipv6, " ssl" if plan.tls else "")
    if plan.inner is not None:
        yield f"listen {plan.inner};"


def _everywhere(listen: str, ipv6: bool, how: str = "") -> Iterator[str]:
    yield f"listen {listen}{how};"
    if ipv6 and listen.isdecimal():
        yield f"listen [::]:{listen}{how};"


def _redirect_server(plan: Plan) -> str:
    if plan.tls is None or plan.tls.redirect is None:
        return ""
    port = f":{plan.tls.redirect_port}" if plan.tls.redirect_port else ""
    return (
        f"\nserver {{\n{_lines(_everywhere(plan.tls.redirect, plan.ipv6))}"
        f"    server_name {plan.server_name};\n"
        "    server_tokens off;\n"
        "    location /.well-known/acme-challenge/ { root /var/www/html; }  # certbot --webroot\n"
        f"    location / {{ return 308 https://$host{port}$request_uri; }}\n}}\n"
    )


def _behind(plan: Plan) -> str:
    """Whose word is taken for where a request came from."""
    if not plan.behind:
        return ""
    proxies = "".join(f"    set_real_ip_from {network};\n" for network in plan.behind)
    return f"{proxies}    real_ip_header X-Forwarded-For;\n    real_ip_recursive on;\n"


def _tls(plan: Plan) -> str:
    if plan.tls is None:
        return ""
    lines = [
        f"ssl_certificate {plan.tls.certificate};",
        f"ssl_certificate_key {plan.tls.key};",
        "ssl_protocols TLSv1.2 TLSv1.3;",
        # Mozilla's "intermediate": forward secrecy and authenticated encryption only.
        "ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
        "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
        "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305;",
        "ssl_prefer_server_ciphers off;",
        "ssl_session_cache shared:voice_tls:10m;",
        "ssl_session_timeout 1d;",
        "ssl_session_tickets off;",
    ]
    return "".join(f"    {line}\n" for line in lines)


def _engine_location(name: str, plan: Plan) -> str:
    """`/NAME/v1/…`: the same by path, for clients that are given a base address."""
    return (
        f"    location ~ ^/{name}/v1/(stream/tts|synthesize)$ {{\n"
        f"        rewrite ^/{name}(/.*)$ $1 break;\n"
        f"        proxy_pass http://voice_tts_{name};\n"
        "        proxy_next_upstream error timeout http_503 non_idempotent;\n    }\n"
        f"    location ~ ^/{name}/v1/(voices|lexicon)(/|$) {{\n"
        f"        rewrite ^/{name}(/.*)$ $1 break;\n"
        f"        proxy_pass http://voice_tts_{name};\n"
        "        proxy_read_timeout 10m;\n"
        f"        client_max_body_size {plan.uploads.tts_mb}m;\n    }}\n"
        f"    location = /{name}/health/ready {{\n"
        + "".join(f"        {line}" for line in _ASKS_READINESS)
        + "        if ($voice_trusted = 0) { rewrite ^ /health last; }\n"
        "        rewrite ^ /health/ready break;\n"
        f"        proxy_pass http://ready_voice_tts_{name};\n    }}\n"
    )
