"""The cloned voices in their store. Blocks: for a thread.

    voices/<id>/voice.json                     written last, deleted first: with it the voice exists
    voices/<id>/reference.flac                 the trimmed speech, from which a new model can learn
    voices/<id>/conditioning-….safetensors     one for each engine and version of its weights
    deleted/<id>.json                          who deleted what, without audio

So whoever is killed between two writes leaves objects that nobody sees and that `sweep` removes.
"""

import hashlib
import time
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
from pydantic import ValidationError

from services.tts.cloning.blobs import BlobError, BlobMissing, Blobs
from services.tts.cloning.records import ClonedVoice, Deletion, is_cloned_id, now

Tensors = Mapping[str, npt.NDArray[Any]]

_ORPHAN_S = 3600.0
"""Objects without a voice.json for so long are a creation that was killed."""
_RECORD = "voice.json"
_REFERENCE = "reference.flac"


class VoiceGone(Exception):
    """The voice does not exist, or not any more."""


class VoiceStore:
    """Voices in `blobs`; several instances may use the same ones. Methods raise BlobError, too."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def create(
        self, voice: ClonedVoice, reference: bytes, version: str, conditioning: Tensors
    ) -> None:
        """Keep a new voice.

        Args:
            reference: the trimmed audio as FLAC.
            version: of the weights that made `conditioning`.
        """
        self._blobs.put(_name(voice.id, _REFERENCE), reference)
        self.put_conditioning(voice, version, conditioning)
        self._put_record(voice)

    def ids(self) -> frozenset[str]:
        """Every voice that is whole."""
        return frozenset(voice_id for voice_id, file in self._files() if file == _RECORD)

    def exists(self, voice_id: str) -> bool:
        return self._blobs.exists(_name(voice_id, _RECORD))

    def read(self, voice_id: str) -> ClonedVoice:
        """Raises VoiceGone."""
        try:
            return ClonedVoice.model_validate_json(self._blobs.get(_name(voice_id, _RECORD)))
        except BlobMissing:
            raise VoiceGone(voice_id) from None
        except ValidationError as error:
            raise BlobError(f"the record of voice {voice_id} cannot be read: {error}") from None

    def rename(self, voice_id: str, name: str) -> ClonedVoice:
        """Raises VoiceGone."""
        voice = self.read(voice_id).model_copy(update={"name": name})
        self._put_record(voice)
        if self._blobs.exists(_tombstone(voice_id)):  # deleted elsewhere in the same moment
            self._remove(voice_id)
            raise VoiceGone(voice_id)
        return voice

    def delete(self, voice_id: str) -> Deletion:
        """Remove all but the record that it was deleted. Raises VoiceGone."""
        voice = self.read(voice_id)
        deletion = Deletion(
            id=voice.id,
            owner=voice.owner,
            created_at=voice.created_at,
            deleted_at=now(),
            consent=voice.consent,
        )
        self._blobs.put(_tombstone(voice_id), deletion.model_dump_json().encode())
        self._remove(voice_id)
        return deletion

    def deletion(self, voice_id: str) -> Deletion:
        """The record of a deletion. Raises VoiceGone: there is none."""
        try:
            return Deletion.model_validate_json(self._blobs.get(_tombstone(voice_id)))
        except BlobMissing:
            raise VoiceGone(voice_id) from None

    def reference(self, voice_id: str) -> bytes:
        """FLAC. Raises VoiceGone."""
        try:
            return self._blobs.get(_name(voice_id, _REFERENCE))
        except BlobMissing:
            raise VoiceGone(voice_id) from None

    def conditioning(self, voice: ClonedVoice, version: str) -> Tensors | None:
        """What this version of the engine computed; None: nothing yet, or it is damaged."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            return load(self._blobs.get(_conditioning(voice, version)))
        except (BlobMissing, SafetensorError):
            return None

    def put_conditioning(self, voice: ClonedVoice, version: str, tensors: Tensors) -> None:
        """Those of other versions stay: instances may be updated one after the other."""
        import numpy as np
        from safetensors.numpy import save

        whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        self._blobs.put(_conditioning(voice, version), save(whole))

    def add_conditioning(self, voice: ClonedVoice, version: str, tensors: Tensors) -> None:
        """Keep what was computed anew. Raises VoiceGone: the voice was deleted meanwhile."""
        self.put_conditioning(voice, version, tensors)
        if not self.exists(voice.id):
            self._blobs.delete(_conditioning(voice, version))
            raise VoiceGone(voice.id)

    def sweep(self) -> None:
        """Finish deletions and remove what was created by halves; for the start of a service."""
        files = [(blob, *_parts(blob.name)) for blob in self._blobs.list("voices")]
        whole = {voice_id for _, voice_id, file in files if file == _RECORD}
        deleted = {blob.name.split("/")[1].split(".")[0] for blob in self._blobs.list("deleted")}
        for voice_id in whole & deleted:
            self._remove(voice_id)
        for blob, voice_id, _ in files:
            if voice_id not in whole and time.time() - blob.modified > _ORPHAN_S:
                self._blobs.delete(blob.name)

    def _put_record(self, voice: ClonedVoice) -> None:
        self._blobs.put(_name(voice.id, _RECORD), voice.model_dump_json().encode())

    def _remove(self, voice_id: str) -> None:
        self._blobs.delete(_name(voice_id, _RECORD))
        for blob in self._blobs.list(f"voices/{voice_id}"):
            self._blobs.delete(blob.name)

    def _files(self) -> list[tuple[str, str]]:
        found = [_parts(blob.name) for blob in self._blobs.list("voices")]
        return [(voice_id, file) for voice_id, file in found if is_cloned_id(voice_id)]


def _name(voice_id: str, file: str) -> str:
    if not is_cloned_id(voice_id):
        raise VoiceGone(voice_id)
    return f"voices/{voice_id}/{file}"


def _tombstone(voice_id: str) -> str:
    if not is_cloned_id(voice_id):
        raise VoiceGone(voice_id)
    return f"deleted/{voice_id}.json"


def _conditioning(voice: ClonedVoice, version: str) -> str:
    digest = hashlib.sha256(f"{voice.engine}\n{version}".encode()).hexdigest()[:16]
    return _name(voice.id, f"conditioning-{digest}.safetensors")


def _parts(name: str) -> tuple[str, str]:
    """Voice and file of `voices/<id>/<file>`."""
    _, voice_id, file = (*name.split("/", 2), "", "")[:3]
    return voice_id, file
