"""Configuration of the TTS service. `config.yaml` beside this file holds the defaults in use."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.shared.runtime.config import (
    PositiveMs,
    ServerConfig,
    ServiceSettings,
    StrictConfig,
)
from services.tts.engines.base import Capabilities
from services.tts.session import SessionOptions

DEFAULT_CONFIG = Path(__file__).with_name("config.yaml")

VoiceId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class EngineConfig(StrictConfig):
    """What every engine has."""

    enabled: bool = False
    isolated: bool | None = None
    """In a process of its own, whose crash fails only the requests at hand (`isolation`).
    None: where the engine may run on CUDA."""

    @property
    def in_own_process(self) -> bool:
        if self.isolated is None:
            return str(getattr(self, "device", "cpu")) != "cpu"
        return self.isolated


class PiperVoiceConfig(StrictConfig):
    """One Piper voice."""

    id: VoiceId
    name: str
    model: str
    """An id of the model catalogue (`voice models list`) or a path to `….onnx`, whose `….onnx.json`
    lies beside it."""
    language: str
    licence: str
    sample: str | None = None
    speaker: int = Field(default=0, ge=0)
    """Number of the speaker in a model of several."""
    gain_db: float = Field(default=0.0, ge=-24, le=24)
    """Fixed amplification; what would clip is rounded off."""


JOE = PiperVoiceConfig(
    id="joe",
    name="Joe",
    model="piper-en_US-joe-medium",
    language="en-US",
    licence="CC0-1.0",
    gain_db=3.0,
)
"""The embedded voice. Its speech is at -24 dBFS; 3 dB more is as loud as a telephone talker."""


class PiperEngineConfig(EngineConfig):
    """Piper voices on the CPU. The engine is GPL-3: dependency group `piper`."""

    enabled: bool = True
    threads: int = Field(default=2, ge=1, le=64)
    """CPU threads of one synthesis."""
    lanes: int = Field(default=1, ge=1, le=64)
    """Syntheses at the same time. One thread for each of two lanes makes a fifth more audio on two
    cores than two threads for one, but the first piece comes later."""
    max_characters: int = Field(default=1000, ge=100, le=5000)
    voices: tuple[PiperVoiceConfig, ...] = Field(default=(JOE,), min_length=1)


class KokoroVoiceConfig(StrictConfig):
    """One voice of Kokoro."""

    id: VoiceId
    name: str
    styles: str
    """A voice of the model `kokoro-voices`, e.g. `af_heart`, or a path to a `….bin` like those."""
    language: str
    """What it reads: en-US, en-GB, es, fr, hi, it, ja or pt-BR. Kanji need the
    dependency group `japanese`."""
    licence: str = "Apache-2.0"
    sample: str | None = None
    gain_db: float = Field(default=0.0, ge=-24, le=24)


HEART = KokoroVoiceConfig(id="heart", name="Heart", styles="af_heart", language="en-US")


class KokoroEngineConfig(EngineConfig):
    """Kokoro-82M on the CPU. Its phonemes come from espeak-ng, GPL-3: dependency group `kokoro`."""

    model: str = "kokoro-82m-int8"
    """An id of the model catalogue or a path to `….onnx`, with `vocab.json` beside it."""
    threads: int = Field(default=2, ge=1, le=64)
    """CPU threads of one synthesis."""
    lanes: int = Field(default=1, ge=1, le=64)
    """Syntheses at the same time."""
    max_characters: int = Field(default=1000, ge=100, le=5000)
    voices: tuple[KokoroVoiceConfig, ...] = Field(default=(HEART,), min_length=1)


class MannerConfig(StrictConfig):
    """How a voice of Chatterbox speaks."""

    exaggeration: float = Field(default=0.5, ge=0.0, le=2.0)
    """0.25 is flat, 0.5 as the reference, 1 and more dramatic and faster."""
    cfg_weight: float = Field(default=0.5, ge=1e-6, le=2.0)
    """Lower is slower, and follows the accent of the reference less; 0 is broken in the library."""
    temperature: float = Field(default=0.8, ge=0.05, le=2.0)


class ChatterboxVoiceConfig(MannerConfig):
    """One voice that Chatterbox brings; cloned ones come from the voice store."""

    id: VoiceId
    name: str
    language: str
    """A BCP 47 tag: `en`, or one of the 23 of the multilingual model."""
    conditioning: Path | None = None
    """A `conds.pt` of the library (`Conditionals.save`); None: the voice that comes with the
    weights."""
    licence: str = "MIT"
    sample: str | None = None


CHATTERBOX_VOICE = ChatterboxVoiceConfig(id="chatterbox", name="Chatterbox", language="en")


class ChatterboxEngineConfig(EngineConfig):
    """Chatterbox, which clones voices, on a GPU: dependency group `chatterbox`. Its audio always
    carries a watermark."""

    model: str = "ResembleAI/chatterbox"
    """A folder with the files of that repository, or a repository of the Hugging Face hub."""
    revision: str | None = Field(default=None, pattern="^[0-9a-f]{40}$")
    """The hub's commit; a repository is only used at one that is given here."""
    multilingual: bool = False
    """The model of 23 languages (no Vietnamese) instead of the English one."""
    device: str = Field(default="cuda", pattern=r"^(cpu|cuda(:\d+)?)$")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the language model. auto: bfloat16 on a GPU."""
    threads: int = Field(default=2, ge=1, le=64)
    """CPU threads of the whole engine."""
    lanes: int = Field(default=4, ge=1, le=64)
    """Requests at the same time; the language model takes them as one batch."""
    max_characters: int = Field(default=280, ge=100, le=400)
    """Longer text makes the model lose its way."""
    block: int = Field(default=12, ge=0, le=250)
    """Speech tokens (40 ms each) that the audio model makes at once, hearing these and the earlier
    ones: 480 ms. More sounds smoother, perhaps, and begins later. 0: it hears all that there is,
    as in the library; then pieces of audio are not quite what the whole would be."""
    cloned: MannerConfig = MannerConfig()
    """How cloned voices speak."""
    voices: tuple[ChatterboxVoiceConfig, ...] = Field(default=(CHATTERBOX_VOICE,), min_length=1)


class FastPitchVoiceConfig(StrictConfig):
    """One voice of FastPitch: an acoustic model, a vocoder that fits to it, a speaker."""

    id: VoiceId
    name: str
    model: str
    """Path of NeMo's `….nemo`, or `owner/name@commit` of the Hugging Face hub."""
    vocoder: str
    """Folder with BigVGAN's `config.json` and `bigvgan_generator.pt`, or `owner/name@commit`. It
    must have been trained on the model's mel settings."""
    language: str
    licence: str
    sample: str | None = None
    speaker: int = Field(default=0, ge=0)
    """Number of the speaker in a model of several."""
    gain_db: float = Field(default=0.0, ge=-24, le=24)


class FastPitchEngineConfig(EngineConfig):
    """NeMo's FastPitch with BigVGAN on torch: dependency group `nemo`."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """auto: CUDA where there is one."""
    cuda_kernel: bool = False
    """BigVGAN's fused activation; needs nvcc and ninja when the engine loads."""
    threads: int = Field(default=2, ge=1, le=64)
    """CPU threads of the whole engine."""
    lanes: int = Field(default=1, ge=1, le=64)
    """Syntheses at the same time."""
    max_characters: int = Field(default=1000, ge=100, le=5000)
    voices: tuple[FastPitchVoiceConfig, ...] = ()


class ExportedVoiceConfig(StrictConfig):
    """One voice of a folder that `scripts/export_onnx.py` made."""

    id: VoiceId
    name: str
    model: Path
    """The folder."""
    language: str
    licence: str
    sample: str | None = None
    speaker: int = Field(default=0, ge=0)
    gain_db: float = Field(default=0.0, ge=-24, le=24)


class FastPitchOnnxEngineConfig(EngineConfig):
    """FastPitch with BigVGAN on onnxruntime, without torch."""

    device: Literal["cpu", "cuda"] = "cpu"
    """cuda: needs onnxruntime-gpu."""
    threads: int = Field(default=2, ge=1, le=64)
    """CPU threads of one synthesis."""
    lanes: int = Field(default=1, ge=1, le=64)
    """Syntheses at the same time."""
    max_characters: int = Field(default=1000, ge=100, le=5000)
    voices: tuple[ExportedVoiceConfig, ...] = ()


class FakeEngineConfig(EngineConfig):
    """Tones instead of speech, for tests."""

    delay_ms: int = Field(default=0, ge=0, le=60_000)
    """Time that each word takes to make."""
    cloning: bool = False
    weights: str = "1"
    """Stands for the model's: after a change cloned voices are computed anew."""


class EnginesConfig(StrictConfig):
    """The engines that run, side by side; each brings its voices."""

    piper: PiperEngineConfig = PiperEngineConfig()
    kokoro: KokoroEngineConfig = KokoroEngineConfig()
    chatterbox: ChatterboxEngineConfig = ChatterboxEngineConfig()
    fastpitch: FastPitchEngineConfig = FastPitchEngineConfig()
    fastpitch_onnx: FastPitchOnnxEngineConfig = FastPitchOnnxEngineConfig()
    fake: FakeEngineConfig = FakeEngineConfig()


class IsolationConfig(StrictConfig):
    """Engines in processes of their own (`engines.<name>.isolated`)."""

    load_s: float = Field(default=300.0, gt=0, le=3600)
    """Longest loading and warming up; also of a restart."""
    piece_s: float = Field(default=20.0, gt=0, le=600)
    """A process that takes longer for a piece of audio is taken for stuck and ended. Keep it below
    `engine_timeout_s`."""
    condition_s: float = Field(default=60.0, gt=0, le=600)
    """The same for the conditioning of a cloned voice, which hears a minute of speech. Keep it at
    or above `voices.reference.condition_s`, whose end leaves the process alive."""
    wait_s: float = Field(default=5.0, ge=0, le=600)
    """For so long after a loss requests wait for the restart; later ones are refused at once."""
    max_restarts: int = Field(default=5, ge=0, le=1000)
    """More within `window_s`, and the engine stays down and the service is not ready."""
    window_s: float = Field(default=600.0, gt=0, le=86_400)
    backoff_s: float = Field(default=1.0, ge=0, le=600)
    """Before the second restart within the window; twice as long before each further one. The
    first comes at once."""
    max_backoff_s: float = Field(default=30.0, ge=0, le=600)
    stop_s: float = Field(default=5.0, gt=0, le=60)
    """At the service's end a process that takes longer is killed."""


class ReferenceConfig(StrictConfig):
    """The recordings that voices are cloned from."""

    max_file_mb: int = Field(default=25, ge=1, le=1024)
    max_file_s: float = Field(default=300.0, gt=0, le=3600)
    """Longest file, silence and all; decoding stops there."""
    min_speech_s: float = Field(default=3.0, ge=1, le=60)
    max_speech_s: float = Field(default=60.0, ge=1, le=600)
    min_snr_db: float = Field(default=15.0, ge=0, le=60)
    """Speech above noise; the estimate is 2 to 4 dB too kind."""
    vad: Literal["silero", "energy"] = "silero"
    """What finds the speech. `energy` needs no model, but takes every sound for speech."""
    vad_model: str = "silero-vad"
    """An id of the model catalogue."""
    max_concurrent: int = Field(default=2, ge=1, le=32)
    """Uploads at the same time; more get 503."""
    receive_s: float = Field(default=60.0, gt=0, le=3600)
    """A file that takes longer to arrive is given up."""
    condition_s: float = Field(default=60.0, gt=0, le=600)
    """Longest wait for the engine to compute the voice; live speech goes first."""


class VoicesConfig(StrictConfig):
    """Who speaks when the client does not say, and where cloned voices are kept."""

    default: VoiceId | None = None
    """None: the first voice of the first engine."""
    languages: dict[str, VoiceId] = {}
    """Language tag → preferred voice."""
    aliases: dict[str, VoiceId] = {}
    """Other names for voices."""
    store: str | None = None
    """Where cloned voices lie: a folder, or a URL (`s3://bucket/prefix`, `gs://…`, `az://…`) that
    instances share. None: no voice can be cloned."""
    max_cloned: int = Field(default=1000, ge=1, le=100_000)
    """Cloned voices in the store, of all owners together."""
    refresh_s: float = Field(default=10.0, ge=0.1, le=3600)
    """So often the store is looked at for what other instances did."""
    memory_mb: int = Field(default=64, ge=1, le=65_536)
    """Conditionings kept in memory; those that were not used for longest go."""
    load_s: float = Field(default=10.0, gt=0, le=600)
    """Longest wait for a cloned voice at the start of a context."""
    reference: ReferenceConfig = ReferenceConfig()


class TextConfig(StrictConfig):
    """How much text a client may send, and how it is cut."""

    max_contexts: int = Field(default=8, ge=1, le=100)
    max_message_characters: int = Field(default=20_000, ge=100, le=1_000_000)
    max_context_characters: int = Field(default=200_000, ge=100, le=10_000_000)
    max_request_characters: int = Field(default=20_000, ge=100, le=1_000_000)
    """Longest text of `POST /v1/synthesize`."""
    segment_characters: int = Field(default=280, ge=40, le=2000)
    look_ahead: int = Field(default=2, ge=1, le=16)
    """Segments being synthesised or waiting to be sent, for each session."""
    pause_ms: PositiveMs = 250
    """A pause in the text after which an unfinished beginning is spoken."""
    normalise: bool = True
    """Numbers, dates, money and the like become words before synthesis; clients can switch it off
    for themselves."""


class LexiconConfig(StrictConfig):
    """How words are said in this deployment."""

    file: Path | None = None
    """YAML: language → word → how to say it. Changes by the API are written to it; None: they are
    forgotten at the end."""
    max_entries: int = Field(default=10_000, ge=1, le=1_000_000)


class PhraseConfig(StrictConfig):
    """A phrase to be spoken before anybody asks."""

    text: str = Field(min_length=1, max_length=5000)
    voice: VoiceId | None = None
    language: str | None = None
    speed: float = Field(default=1.0, ge=0.25, le=4.0)


class CacheConfig(StrictConfig):
    """Phrases that need not be synthesised again."""

    enabled: bool = True
    memory_mb: int = Field(default=32, ge=1, le=65_536)
    """A minute of speech takes about 2.6 MB."""
    folder: Path | None = None
    """Where phrases that are asked for again survive a restart; None: in memory only. Who can read
    it can hear what callers were told."""
    disk_mb: int = Field(default=256, ge=1, le=1_048_576)
    prewarm: tuple[PhraseConfig, ...] = Field(default=(), max_length=1000)
    """Greetings, fillers: spoken before the service says that it is ready."""


class AdmissionConfig(StrictConfig):
    """Refuse early rather than stutter, by the predicted time to first audio."""

    enabled: bool = True
    max_first_audio_ms: PositiveMs = 1000
    """Over this, new sessions and requests get HTTP 503 with Retry-After."""
    max_context_first_audio_ms: PositiveMs = 3000
    """Over this, a context of a silent session is refused; the session goes on."""


class TtsConfig(ServiceSettings):
    """The whole configuration; overrides by environment start with `TTS__`."""

    model_config = SettingsConfigDict(env_prefix="TTS__")

    server: ServerConfig = ServerConfig(port=8002)
    engines: EnginesConfig = EnginesConfig()
    isolation: IsolationConfig = IsolationConfig()
    voices: VoicesConfig = VoicesConfig()
    text: TextConfig = TextConfig()
    lexicon: LexiconConfig = LexiconConfig()
    cache: CacheConfig = CacheConfig()
    admission: AdmissionConfig = AdmissionConfig()
    engine_timeout_s: float = Field(default=30.0, gt=0, le=600)
    """A piece of audio that takes longer than this has failed."""

    def session_options(self, *capabilities: Capabilities) -> SessionOptions:
        """What sessions need to know of all this.

        Args:
            capabilities: of every engine; no segment is longer than the least of them takes.
        """
        text = self.text
        spoken = min((engine.max_characters for engine in capabilities), default=1000)
        return SessionOptions(
            max_contexts=text.max_contexts,
            max_message_characters=text.max_message_characters,
            max_context_characters=text.max_context_characters,
            segment_characters=min(text.segment_characters, spoken),
            spoken_characters=spoken,
            look_ahead=text.look_ahead,
            pause_s=text.pause_ms / 1000,
        )
