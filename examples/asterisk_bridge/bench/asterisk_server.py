"""A real Asterisk on loopback, started in the chroot that scripts/make_asterisk_bench.sh makes."""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import httpx

START_S = 30.0
STOP_S = 5.0
USER, PASSWORD = "va", "only-for-tests"

_SHIPPED = Path(__file__).parents[1] / "asterisk"
"""What users are told to put into their Asterisk is what is tried and measured."""

_MODULES = """
res_timing_timerfd codec_ulaw codec_alaw codec_resample res_http_websocket res_websocket_client
chan_websocket res_stasis res_stasis_answer res_stasis_playback res_stasis_recording
res_stasis_snoop res_stasis_device_state res_ari res_ari_model res_ari_applications
res_ari_asterisk res_ari_bridges res_ari_channels res_ari_endpoints res_ari_events
res_ari_playbacks res_ari_recordings res_ari_sounds res_sorcery_config res_sorcery_memory
res_sorcery_astdb res_pjproject res_pjsip res_pjsip_session res_pjsip_sdp_rtp
res_pjsip_caller_id res_pjsip_dtmf_info res_pjsip_endpoint_identifier_ip
res_pjsip_endpoint_identifier_user res_pjsip_endpoint_identifier_anonymous res_pjsip_nat
res_pjsip_rfc3326 res_pjsip_logger res_pjsip_pubsub res_rtp_multicast res_rtp_asterisk
chan_pjsip chan_rtp bridge_simple bridge_softmix bridge_holding pbx_config app_stasis app_echo
app_milliwatt app_playtones app_dial app_verbose func_channel func_callerid func_timeout
app_senddtmf func_dialplan
res_pjsip_authenticator_digest res_pjsip_outbound_authenticator_digest res_pjsip_registrar
res_pjsip_outbound_registration
"""

_EMPTY = """
acl.conf ccss.conf cel.conf features.conf indications.conf manager.conf pjproject.conf
stasis.conf udptl.conf websocket_client.conf
"""
"""Without these files Asterisk complains at every start."""


def bench_root(environ: Mapping[str, str] = os.environ) -> Path:
    """Where scripts/make_asterisk_bench.sh puts the chroot unless it is told otherwise."""
    if chosen := environ.get("ASTERISK_BENCH"):
        return Path(chosen).resolve()
    cache = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "voice-services" / "asterisk"


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class AsteriskServer:
    """One Asterisk. A context manager: started on entering, gone on leaving.

    Extension 1000 enters the Stasis application `va` and, when that fails or is left, the
    fallback: Asterisk answers and plays 1004 Hz. 2000 plays the same at once, 3000 echoes; 2000
    and 3000 can be transferred to.

    Args:
        more: files of its configuration, instead of ours or besides them; `{sip_port}` in their
            text becomes the port.
    """

    def __init__(self, root: Path, more: Mapping[str, str] = MappingProxyType({})) -> None:
        self._root = root
        self._more = more
        self._process: subprocess.Popen[bytes] | None = None
        self.http_port = free_port(socket.SOCK_STREAM)
        self.sip_port = free_port(socket.SOCK_DGRAM)
        self._rtp_start = 2 * random.randrange(6000, 14_000)
        run = root / "run"
        run.mkdir(exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="va-test-", dir=run))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def log(self) -> str:
        return (self.folder / "output").read_text(errors="replace")

    def __enter__(self) -> Self:
        self._configure()
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Start it and wait until its modules are loaded.

        Raises:
            RuntimeError: it ended, or was not ready in time.
        """
        inside = "/" + str(self.folder.relative_to(self._root))
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                ["chroot", self._root, "asterisk", "-f", "-n", "-C", f"{inside}/asterisk.conf"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | {"LC_ALL": "C.UTF-8"},
            )
        deadline = time.monotonic() + START_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"Asterisk does not start:\n{self.log[-4000:]}")
            time.sleep(0.1)

    def stop(self, sent: signal.Signals = signal.SIGTERM) -> None:
        """End it: by default as `systemctl stop` would, by SIGKILL as a crash would."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(sent)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self, sent: signal.Signals = signal.SIGKILL) -> None:
        self.stop(sent)
        self.start()

    def cli(self, command: str) -> str:
        inside = "/" + str(self.folder.relative_to(self._root))
        done = subprocess.run(
            ["chroot", self._root, "asterisk", "-C", f"{inside}/asterisk.conf", "-rx", command],
            capture_output=True,
            text=True,
            timeout=10,
        )
        return done.stdout

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _is_ready(self) -> bool:
        try:
            answer = httpx.get(
                f"{self.url}/ari/asterisk/info", auth=(USER, PASSWORD), timeout=1, trust_env=False
            )
        except httpx.HTTPError:
            return False
        # Modules are loaded in some order; the dial plan is there only once all are.
        return answer.status_code == 200 and "fully booted" in self.cli("core waitfullybooted")

    def _configure(self) -> None:
        inside = "/" + str(self.folder.relative_to(self._root))
        for name in ("run", "log", "spool", "lib", "keys"):
            (self.folder / name).mkdir()
        loads = "\n".join(f"load => {module}.so" for module in _MODULES.split())
        files = {
            "asterisk.conf": f"""
[directories]
astetcdir => {inside}
astmoddir => {self._module_folder()}
astvarlibdir => /var/lib/asterisk
astdbdir => {inside}/lib
astkeydir => {inside}/keys
astdatadir => /usr/share/asterisk
astagidir => {inside}/lib
astspooldir => {inside}/spool
astrundir => {inside}/run
astlogdir => {inside}/log
[options]
dontwarn = yes
""",
            "modules.conf": f"[modules]\nautoload=no\n{loads}\n",
            "logger.conf": "[logfiles]\nconsole => notice,warning,error\n",
            "http.conf": f"""
[general]
enabled=yes
bindaddr=127.0.0.1
bindport={self.http_port}
sessionlimit=1000
""",
            "ari.conf": f"""
[general]
enabled=yes
channelvars=MEDIA_WEBSOCKET_CONNECTION_ID,MEDIA_WEBSOCKET_OPTIMAL_FRAME_SIZE
[{USER}]
type=user
password={PASSWORD}
""",
            "chan_websocket.conf": (_SHIPPED / "chan_websocket.conf").read_text(),
            "voice_agent.conf": (_SHIPPED / "voice_agent.conf").read_text(),
            "rtp.conf": f"""
[general]
rtpstart={self._rtp_start}
rtpend={self._rtp_start + 1999}
""",
            "pjsip.conf": f"""
[udp]
type=transport
protocol=udp
bind=127.0.0.1:{self.sip_port}
[caller]
type=endpoint
context=incoming
disallow=all
allow=ulaw,alaw
direct_media=no
dtmf_mode=rfc4733
[caller]
type=identify
endpoint=caller
match=127.0.0.1
""",
            "extensions.conf": """
#include voice_agent.conf
[incoming]
exten => _1XXX,1,Goto(voice-agent,${EXTEN},1)
exten => 2000,1,Goto(agents,2000,1)
exten => 3000,1,Goto(agents,3000,1)
[fallback]
exten => s,1,Answer()
 same => n,Milliwatt()
[agents]
exten => 2000,1,Answer()
 same => n,Milliwatt()
exten => 3000,1,Answer()
 same => n,Echo()
""",
            "cdr.conf": "[general]\nenable=no\n",
            **dict.fromkeys(_EMPTY.split(), ""),
        }
        port = str(self.sip_port)
        files |= {name: text.replace("{sip_port}", port) for name, text in self._more.items()}
        for name, content in files.items():
            (self.folder / name).write_text(content.lstrip())

    def _module_folder(self) -> str:
        (found,) = self._root.glob("usr/lib/*/asterisk/modules")
        return "/" + str(found.relative_to(self._root))
