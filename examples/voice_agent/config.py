"""What makes an agent: frozen, unknown keys are errors, so a stored version means one thing."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from examples.voice_agent.sentences import LanguagePack, Sentence, language_pack
from services.asr.messages import TurnOptions

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VoiceConfig(Frozen):
    """How the agent speaks."""

    voice: str | None = None
    """None: the TTS service's voice for the language."""
    speed: Annotated[float, Field(ge=0.25, le=4.0)] = 1.0
    lexicon: dict[str, str] = Field(default_factory=dict)


class LlmEndpoint(Frozen):
    """Where an OpenAI-compatible server answers."""

    base_url: str = "http://127.0.0.1:8000/v1"
    model: str = "default"
    api_key_env: str | None = None
    """Environment variable that holds the key; keys themselves are never stored. Its name begins
    with `VOICE_AGENT_SECRET_`: see :mod:`.secrets`."""


class LlmConfig(LlmEndpoint):
    """An OpenAI-compatible endpoint, and how it is asked."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=4096)] = 300
    extra: dict[str, Any] = Field(default_factory=dict)
    """More fields of the request's body; None takes one out, e.g. `{"stream_options": None}`."""
    connect_s: Seconds = 2.0
    first_delta_s: Seconds = 6.0
    between_deltas_s: Seconds = 4.0
    retries: Annotated[int, Field(ge=0, le=5)] = 1
    """Of one answer, as long as nothing of it has been heard."""
    fallbacks: tuple[LlmEndpoint, ...] = ()
    """Asked in this order when the first one fails."""


class HearingConfig(Frozen):
    """How the caller is listened to."""

    turn: TurnOptions = TurnOptions()
    hotwords: tuple[str, ...] = ()
    prompt: str | None = None
    speculate: bool = True
    """Begin the answer when the turn is probably over."""
    speculations_per_turn: Annotated[int, Field(ge=1, le=20)] = 4


class BargeConfig(Frozen):
    """When a caller who speaks over the agent is meant to be heard."""

    enabled: bool = True
    min_words: Annotated[int, Field(ge=1, le=10)] = 2
    min_speech_s: Seconds = 0.7
    """A single word counts when there has been speech for so long."""
    decide_s: Seconds = 1.0
    """Without words that mean something by then the agent goes on."""
    wordless_s: Seconds = 2.0
    """The same while the recogniser has not told anything yet."""
    late_reply_s: Annotated[float, Field(ge=0, le=10)] = 1.2
    """ "Yes" is a reply and no "mm-hm" when no more than this is left of a question."""
    echo_overlap: Probability = 0.6
    """Share of words that were just spoken by the agent, from which on they are its echo."""
    echo_window_s: Seconds = 1.0
    """What was heard longer than this before the onset has no echo any more."""
    wary_after: Annotated[int, Field(ge=1, le=100)] = 3
    """After so many pauses for nothing in a row the agent falls silent for words only."""
    keys: bool = True
    """A pressed key interrupts."""


class PatienceConfig(Frozen):
    """What happens when nothing happens."""

    filler_after_s: Seconds = 1.5
    tool_filler_after_s: Seconds = 0.7
    dead_air_s: Seconds = 2.7
    """Between fillers; silence while an answer is owed is never longer."""
    fillers: Annotated[int, Field(ge=0, le=20)] = 3
    """For one answer; after that it is given up."""
    silence_prompt_s: Seconds = 8.0
    silence_prompts: Annotated[int, Field(ge=0, le=20)] = 2
    keys_s: Seconds = 2.0
    """Keys that are pressed within this time of one another belong together; # ends them, too."""


class LimitsConfig(Frozen):
    call_s: Seconds = 1800.0
    warning_s: Seconds = 60.0
    """Before the call's end; not at all when the call may not even last twice as long."""
    answer_characters: Annotated[int, Field(ge=50, le=20_000)] = 1500
    tool_steps: Annotated[int, Field(ge=0, le=20)] = 3
    tools_per_step: Annotated[int, Field(ge=1, le=20)] = 4
    tool_result_characters: Annotated[int, Field(ge=100, le=100_000)] = 4000
    tool_s: Seconds = 20.0
    history_messages: Annotated[int, Field(ge=2, le=10_000)] = 200
    failures: Annotated[int, Field(ge=1, le=20)] = 2
    """Answers in a row that may fail before the fallback takes over."""
    asr_away_s: Seconds = 12.0
    tts_retries: Annotated[int, Field(ge=0, le=5)] = 2
    """Of one answer."""
    closing_s: Seconds = 20.0
    """Longest wait for the last word before the call is ended or transferred."""
    mark_grace_s: Seconds = 2.0
    """A transport that does not confirm what must have been played by now is not waited for."""


class FallbackConfig(Frozen):
    transfer_to: str | None = None
    """None: the call ends."""


class AgentConfig(Frozen):
    """One agent."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    prompt: Annotated[str, Field(max_length=100_000)]
    """The system message."""
    language: Annotated[str, Field(min_length=2, max_length=35)] = "en"
    greeting: str | None = None
    """None: the language's; "": the caller begins."""
    voice: VoiceConfig = VoiceConfig()
    llm: LlmConfig = LlmConfig()
    hearing: HearingConfig = HearingConfig()
    barge: BargeConfig = BargeConfig()
    patience: PatienceConfig = PatienceConfig()
    limits: LimitsConfig = LimitsConfig()
    fallback: FallbackConfig = FallbackConfig()
    sentences: dict[Sentence, str] = Field(default_factory=dict)
    """Instead of the language's own."""
    backchannels: tuple[str, ...] | None = None
    stop_words: tuple[str, ...] | None = None
    keys: str | None = None
    tools: tuple[str, ...] = ()
    """Names of the tools that it may use."""
    tool_settings: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        given = (self.backchannels, self.stop_words, self.keys)
        if set(Sentence) - {Sentence.GREETING} - set(self.sentences) or None in given:
            language_pack(self.language)
        return self

    def language_pack(self) -> LanguagePack:
        """The agent's own words, completed by its language's."""
        try:
            pack = language_pack(self.language)
        except ValueError:
            pack = LanguagePack({}, frozenset(), frozenset(), "")
        sentences: Mapping[Sentence, str] = {**pack.sentences, **self.sentences}
        if self.greeting is not None:
            sentences = {**sentences, Sentence.GREETING: self.greeting}
        return LanguagePack(
            sentences=sentences,
            backchannels=_or(self.backchannels, pack.backchannels),
            stop_words=_or(self.stop_words, pack.stop_words),
            keys=self.keys or pack.keys,
        )


def _or(given: tuple[str, ...] | None, default: frozenset[str]) -> frozenset[str]:
    return default if given is None else frozenset(given)
