import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.models.catalogue import (
    Catalogue,
    HubSource,
    ModelKind,
    WheelSource,
    load_catalogue,
    parse_catalogue,
)
from services.shared.models.errors import ModelError, UnknownModel

ONE_MODEL = """
wheels:
  data: {{version: "1", filename: data-1.whl, size: 9, sha256: "{sha}"}}
models:
  - id: tiny
    kind: asr
    title: Tiny
    licence: {{name: MIT, url: "https://example.org"}}
    languages: [en]
    size: {size}
    files: [{{path: "{path}", size: 3, sha256: "{sha}"}}]
    sources:
      - wheels: {{"{source_path}": [{package}: "{member}"]}}
"""
GOOD = {
    "sha": "0" * 64,
    "size": 3,
    "path": "model.bin",
    "source_path": "model.bin",
    "package": "data",
    "member": "data/model.bin",
}


def test_the_shipped_catalogue_has_the_models_of_the_demo() -> None:
    catalogue = load_catalogue()

    kinds = {catalogue.get(model_id).kind for model_id in catalogue.default_ids}
    assert kinds == set(ModelKind)
    assert "whisper-large-v3" in catalogue.ids


def test_default_models_come_from_a_package_index_first() -> None:
    catalogue = load_catalogue()

    for model_id in catalogue.default_ids:
        assert isinstance(catalogue.get(model_id).sources[0], WheelSource)


def test_every_wheel_is_used() -> None:
    catalogue = load_catalogue()

    used = {
        package
        for entry in catalogue.models
        for source in entry.sources
        if isinstance(source, WheelSource)
        for package in source.packages
    }
    assert used == set(catalogue.wheels)


def test_hub_sources_are_pinned_to_commits() -> None:
    sources = [source for entry in load_catalogue().models for source in entry.sources]

    revisions = [source.revision for source in sources if isinstance(source, HubSource)]
    assert revisions and all(len(revision) == 40 for revision in revisions)


def test_an_unknown_id_lists_the_valid_ones() -> None:
    with pytest.raises(UnknownModel, match=r"no model 'whisper-huge'.*silero-vad.*whisper-tiny.en"):
        load_catalogue().get("whisper-huge")


def test_a_small_catalogue_is_read() -> None:
    catalogue = parse_catalogue(ONE_MODEL.format(**GOOD))

    source = catalogue.get("tiny").sources[0]
    assert isinstance(source, WheelSource)
    assert source.wheels["model.bin"][0].member == "data/model.bin"
    assert source.packages == ("data",)


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("sha", "xyz", "sha256"),
        ("size", 4, "not the sum"),
        ("path", "../model.bin", "inside its folder"),
        ("path", "/etc/passwd", "inside its folder"),
        ("path", "a/../../b", "inside its folder"),
        ("path", ".", "inside its folder"),
        ("member", "../../evil", "inside its folder"),
        ("source_path", "other.bin", "every file, and no other"),
        ("package", "nowhere", "no such wheel: nowhere"),
    ],
)
def test_a_wrong_catalogue_is_refused(field: str, value: object, complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        parse_catalogue(ONE_MODEL.format(**{**GOOD, field: value}))


def test_unknown_keys_and_broken_yaml_are_refused() -> None:
    with pytest.raises(ModelError, match="colour"):
        parse_catalogue(ONE_MODEL.format(**GOOD) + "    colour: red\n")
    with pytest.raises(ModelError, match="cannot be read"):
        parse_catalogue("{")


@given(st.text(max_size=40))
def test_no_path_leads_out_of_the_folder(path: str) -> None:
    data = parse_catalogue(ONE_MODEL.format(**GOOD)).model_dump(mode="json")
    data["models"][0]["files"][0]["path"] = path
    data["models"][0]["sources"] = [{"hub": "a/b", "revision": "0" * 40}]
    try:
        catalogue = Catalogue.model_validate(data)
    except ValueError:
        return
    parts = catalogue.models[0].files[0].path.split("/")
    assert parts and not {"", ".", ".."} & set(parts)
