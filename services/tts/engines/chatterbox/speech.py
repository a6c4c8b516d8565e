"""Speech tokens → audio, piece by piece, such that the pieces are the whole.

The audio model (S3Gen, of the family of CosyVoice 2) makes mel frames by flow matching; HiFT makes
samples of them. For every piece the flow runs again over the reference and all tokens so far. That
it then gives the earlier frames once more as they were takes three things:

- attention in blocks: a frame attends to the earlier blocks and its own, the way CosyVoice 2 was
  trained to stream (the library leaves the switch at "everything"), and its convolutions look back,
  except for the three tokens that the encoder looks ahead and that are held back;
- noise that belongs to the position, drawn once for each request (the library draws anew);
- the sine source of the vocoder carries its phase on, with noise by position as well.

The vocoder looks both ways: what the next frames may still change is held back, and the little
that is left is faded over. The library's own `finalize=False` fails (version 0.1.7: its mask is
longer than its frames), so its modules are called one by one.

The cost of a piece grows with what was said before; pieces grow, too, and a request is bounded (280
characters), so a whole costs a few times what it would in one go.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from services.tts.engines.base import Floats
from services.tts.engines.chatterbox.conditioning import SAMPLE_RATE, VoiceTensors

BLOCK = 12
"""Tokens that attend to each other: 480 ms."""
LOOK_AHEAD = 3
"""Tokens that the encoder looks ahead."""
FRAMES = 2
"""Mel frames of a token."""
HOP = 480
"""Samples of a frame."""
VOCABULARY = 6561
_STEPS = 10
_CONTEXT = 16
"""Frames on the left that the vocoder hears again: more than it can see."""
_PITCH_VIEW = 5
"""Frames that the pitch predictor looks to each side."""
HOLD = 8
"""Frames held back for what follows. The last effect of a frame is 20 frames away; beyond 8 it is
less than a thousandth of the speech."""
_FADE = 2 * HOP
_EDGE = SAMPLE_RATE // 50
"""20 ms of silence, then as long to fade in: the reference spills over into the beginning."""


class MelFlow:
    """The flow of one S3Gen; keeps nothing of a request, so any thread may use it.

    Args:
        flow: the library's CausalMaskedDiffWithXvec.
        block: tokens of a block of attention; 0: every frame attends to all that is there, as
            in the library. Then what was said earlier would have come out slightly different with
            what came later, so that pieces differ from the whole.
    """

    def __init__(self, flow: Any, *, block: int = BLOCK) -> None:
        self._flow = flow
        flow.encoder.static_chunk_size = block
        flow.decoder.estimator.static_chunk_size = FRAMES * block
        self._device = flow.encoder_proj.weight.device
        steps = torch.linspace(0, 1, _STEPS + 1, device=self._device)
        self._times = 1 - torch.cos(steps * torch.pi / 2)

    def frames(
        self,
        voice: VoiceTensors,
        tokens: Sequence[int],
        noise: torch.Tensor,
        *,
        final: bool,
        check: Callable[[], None] = lambda: None,
    ) -> torch.Tensor:
        """Mel frames of all `tokens`.

        Args:
            noise: [80, at least all frames], those of the reference first.
            final: no more tokens will come; else the last three only serve as what follows.
            check: called often; may raise to stop.

        Returns:
            [1, 80, frames].
        """
        with torch.inference_mode():
            guide, known, timbre = self._guide(voice, tokens, final)
            x = noise[None, :, : guide.shape[2]].to(self._device)
            mask = torch.ones_like(guide[:, :1])
            for step in range(_STEPS):
                check()
                x = self._flow.decoder.solve_euler(
                    x,
                    t_span=self._times[step : step + 2],
                    mu=guide,
                    mask=mask,
                    spks=timbre,
                    cond=known,
                )
        return x[:, :, voice.reference_mel.shape[1] :]

    def _guide(
        self, voice: VoiceTensors, tokens: Sequence[int], final: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the flow follows: the encoded tokens, the frames that are known, the timbre."""
        device, flow = self._device, self._flow
        reference = torch.from_numpy(voice.reference_mel).to(device).transpose(1, 2)
        said = torch.tensor([tokens], dtype=torch.long, device=device)
        heard = torch.from_numpy(voice.reference_tokens).to(device, torch.long)
        everything = torch.cat([heard, said], dim=1)
        count = torch.tensor([everything.shape[1]], device=device)
        hidden, _ = flow.encoder(flow.input_embedding(everything), count)
        if not final:
            hidden = hidden[:, : -FRAMES * LOOK_AHEAD]
        guide = flow.encoder_proj(hidden).transpose(1, 2).contiguous()
        known = torch.zeros_like(guide)
        known[:, :, : reference.shape[2]] = reference
        timbre = F.normalize(torch.from_numpy(voice.timbre).to(device), dim=1)
        timbre = flow.spk_embed_affine_layer(timbre)
        return guide, known, timbre


class Source:
    """What a voice's cords do: sines at the pitch and its overtones, and noise, without a seam.

    Args:
        module: the library's SourceModuleHnNSF.
        rng: of the request.
    """

    def __init__(self, module: Any, rng: np.random.Generator) -> None:
        self._module = module
        self._rng = rng
        self._generator = module.l_sin_gen
        overtones = self._generator.harmonic_num + 1
        self._offsets = rng.uniform(-np.pi, np.pi, overtones)
        self._offsets[0] = 0.0
        self._turns = np.zeros(overtones)
        """Where the sines are, in turns."""
        self._noise = np.zeros((0, HOP, overtones), dtype=np.float32)
        """Drawn ahead, frame by frame."""

    def sound(self, pitch: torch.Tensor, keep: int) -> torch.Tensor:
        """Continue.

        Args:
            pitch: [frames] in Hz, from where the last call's kept frames ended.
            keep: frames that are final; the others will be asked for again.

        Returns:
            [1, 1, samples].
        """
        hertz = pitch.double().cpu().numpy()
        harmonics = np.arange(1, len(self._turns) + 1)
        rates = np.repeat(hertz, HOP)[:, None] * harmonics / self._generator.sampling_rate
        turns = self._turns + np.cumsum(rates, axis=0)
        voiced = (np.repeat(hertz, HOP) > self._generator.voiced_threshold)[:, None]
        loudness = self._generator.sine_amp
        waves = loudness * np.sin(2 * np.pi * (turns % 1) + self._offsets)
        hiss = np.where(voiced, self._generator.noise_std, loudness / 3)
        waves = waves * voiced + hiss * self._drawn(len(hertz)).reshape(waves.shape)
        if keep:
            self._turns = turns[keep * HOP - 1] % 1
            self._noise = self._noise[keep:]
        linear = self._module.l_linear
        merged = linear(torch.from_numpy(waves).to(linear.weight))
        return self._module.l_tanh(merged).T[None]

    def _drawn(self, frames: int) -> Floats:
        missing = frames - len(self._noise)
        if missing > 0:
            shape = (missing, *self._noise.shape[1:])
            more = self._rng.standard_normal(shape, dtype=np.float32)
            self._noise = np.concatenate([self._noise, more])
        return self._noise[:frames]


class Vocoder:
    """One request's way from mel to samples.

    Args:
        hift: the library's HiFTGenerator; nothing of it is changed.
        hold: frames held back.
    """

    def __init__(self, hift: Any, seed: int, *, hold: int = HOLD) -> None:
        self._hift = hift
        self._hold = hold
        self._source = Source(hift.m_source, np.random.default_rng(seed))
        self._mel: torch.Tensor | None = None
        """Frames that are still needed."""
        self._cords: torch.Tensor | None = None
        """Samples of the source that are final, from the same frame on."""
        self._first = 0
        """Number of the first frame of both."""
        self._sent = 0
        """Frames whose samples were given away."""
        self._tail: Floats | None = None
        """How the last run would have gone on."""

    def push(self, mel: torch.Tensor, *, final: bool) -> Floats:
        """Take frames [1, 80, n], n may be 0; gives the samples that are certain now."""
        with torch.inference_mode():
            return self._push(mel, final)

    def _push(self, mel: torch.Tensor, final: bool) -> Floats:
        self._mel = mel if self._mel is None else torch.cat([self._mel, mel], dim=2)
        end = self._first + self._mel.shape[2]
        until = end if final else max(self._sent, end - self._hold)
        if until == self._sent:
            return np.zeros(0, dtype=np.float32)
        cords = self._excite(final)
        start = max(self._first, self._sent - _CONTEXT)
        frames = self._mel[:, :, start - self._first :]
        run = self._hift.decode(x=frames, s=cords[:, :, (start - self._first) * HOP :])
        samples = run[0].float().cpu().numpy()[(self._sent - start) * HOP :]
        samples = self._blend(self._fade_in(samples))
        ready = (until - self._sent) * HOP
        self._tail = samples[ready : ready + _FADE]
        self._sent = until
        self._forget()
        return samples[:ready]

    def _excite(self, final: bool) -> torch.Tensor:
        """The source for all frames that are kept."""
        assert self._mel is not None
        pitch = self._hift.f0_predictor(self._mel)[0]
        done = 0 if self._cords is None else self._cords.shape[2] // HOP
        certain = len(pitch) if final else max(done, len(pitch) - _PITCH_VIEW)
        fresh = self._source.sound(pitch[done:], certain - done)
        cords = fresh if self._cords is None else torch.cat([self._cords, fresh], dim=2)
        self._cords = cords[:, :, : certain * HOP]
        return cords

    def _fade_in(self, samples: Floats) -> Floats:
        """The request's first samples, where these are among them."""
        fade = np.zeros(2 * _EDGE, dtype=np.float32)
        fade[_EDGE:] = (np.cos(np.linspace(np.pi, 0, _EDGE)) + 1) / 2
        fade = fade[self._sent * HOP :][: len(samples)]
        samples[: len(fade)] *= fade
        return samples

    def _blend(self, samples: Floats) -> Floats:
        """From how the last run would have gone on to this one."""
        if self._tail is not None and len(self._tail):
            length = min(len(self._tail), len(samples))
            rise = np.sin(np.linspace(0, np.pi / 2, length, dtype=np.float32)) ** 2
            samples[:length] = rise * samples[:length] + (1 - rise) * self._tail[:length]
        return samples

    def _forget(self) -> None:
        """Drop what no later run will hear: pitch and sound look back a little."""
        assert self._mel is not None and self._cords is not None
        drop = self._sent - _CONTEXT - _PITCH_VIEW - self._first
        if drop > 0:
            self._mel = self._mel[:, :, drop:]
            self._cords = self._cords[:, :, drop * HOP :]
            self._first += drop


class Stretch:
    """Faster or slower speech of the same pitch: mel frames are interpolated, as CosyVoice does.

    Args:
        speed: 2 is twice as fast.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._made = 0
        """Frames given away."""
        self._first = 0
        """Number of the first frame of `_mel`."""
        self._mel: torch.Tensor | None = None

    def push(self, mel: torch.Tensor, *, final: bool) -> torch.Tensor:
        """Take frames [1, 80, n]; gives those that lie between what is known."""
        if self._speed == 1:
            return mel
        self._mel = mel if self._mel is None else torch.cat([self._mel, mel], dim=2)
        end = self._first + self._mel.shape[2]
        if final:
            count = max(1, round(end / self._speed)) - self._made
        else:
            count = int((end - 2) / self._speed) + 1 - self._made if end >= 2 else 0
        count = max(0, count)
        at = torch.arange(self._made, self._made + count, dtype=torch.float64) * self._speed
        low = at.floor().long().clamp(max=end - 1)
        high = (low + 1).clamp(max=end - 1)
        part = (at - low).clamp(0, 1).to(mel)
        before, after = (self._mel[:, :, each.to(mel.device) - self._first] for each in (low, high))
        self._made += count
        drop = max(0, min(int(self._made * self._speed), end - 1) - self._first)
        self._mel = self._mel[:, :, drop:]
        self._first += drop
        return before + (after - before) * part


def position_noise(seed: int, frames: int) -> torch.Tensor:
    """[80, frames]: the first frames are the same however many there are."""
    rng = np.random.default_rng([seed, 80])
    return torch.from_numpy(rng.standard_normal((frames, 80), dtype=np.float32)).T
