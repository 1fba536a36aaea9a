"""What a stage's model may hold in place of bytes: a local path, or an artifact in the bucket."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

Value = TypeVar("Value")

STORED = {"form": "stored"}
"""Validation context of a document from the bucket: file fields take artifacts alone."""

_PART = r"\.*[^/.\x00-\x1f][^/\x00-\x1f]*"
ARTIFACT_NAME = rf"^artifacts/({_PART}/)+[0-9a-f]{{12}}-{_PART}$"

MEDIA_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".geojson": "application/geo+json",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
    ".txt": "text/plain; charset=utf-8",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".yml": "application/yaml; charset=utf-8",
    ".zip": "application/zip",
}


class Frozen(BaseModel):
    """A plain value: immutable, no unknown fields, numbers accepted where text is meant."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", coerce_numbers_to_str=True, use_attribute_docstrings=True
    )


class Artifact(Frozen):
    """One file in the bucket, named by a result."""

    object_name: str = Field(pattern=ARTIFACT_NAME)
    """`artifacts/…/<digest>-<file name>`; no bucket, so that a copied bucket is whole."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)
    etag: str
    """The store's name for these bytes; it changes when they do."""
    media_type: str
    rows: int | None = None

    @property
    def name(self) -> str:
        """The file name that the stage gave."""
        return self.object_name.rsplit("/", 1)[1].split("-", 1)[1]


def _stored_form(value: object, info: ValidationInfo) -> object:
    if info.context is STORED and not isinstance(value, dict):
        raise ValueError("a stored result names artifacts, never local paths")
    return value


File = Annotated[Path | Artifact, BeforeValidator(_stored_form)]
"""A file field of a stage's model: a path while the stage runs, an artifact everywhere else."""


class Uncounted:
    """Marks a field that no digest counts: what people are told of a result, beside its content."""


Warnings = Annotated[tuple[str, ...] | None, Uncounted]
"""What was not as it should be and did no harm; None where there is nothing to say."""


class Output(Frozen):
    """What a stage returns. As another stage's argument it counts by its digest."""

    @property
    def warned(self) -> tuple[str, ...]:
        """What people are told of it."""
        return ()


def media_type(path: Path) -> str:
    """The media type that a file name's suffix stands for."""
    return MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream")


def replace_files(value: Value, replace: Callable[[Path | Artifact, int | None], object]) -> Value:
    """A copy of `value` in which each file became `replace(file, rows)`.

    `rows` is the field of that name beside the file, where its model has one.
    """
    return _replace(value, replace, None)  # type: ignore[no-any-return]


def _replace(value: Any, replace: Callable[[Path | Artifact, int | None], object], rows: int | None) -> Any:
    match value:
        case Path() | Artifact():
            return replace(value, rows)
        case BaseModel():
            fields = {name: getattr(value, name) for name in type(value).model_fields}
            beside = fields.get("rows")
            changed = {
                name: new
                for name, old in fields.items()
                if (new := _replace(old, replace, beside)) is not old
            }
            return value.model_copy(update=changed) if changed else value
        case Mapping():
            new_items = {name: _replace(item, replace, rows) for name, item in value.items()}
            return new_items if any(new_items[name] is not value[name] for name in value) else value
        case list() | tuple():
            items = [_replace(item, replace, rows) for item in value]
            changed_any = any(new is not old for new, old in zip(items, value, strict=True))
            return type(value)(items) if changed_any else value
        case _:
            return value


def files_of(value: object) -> Iterator[Path | Artifact]:
    """Every file in `value`, in the order of its fields."""
    found: list[Path | Artifact] = []

    def keep(file: Path | Artifact, _rows: int | None) -> Path | Artifact:
        found.append(file)
        return file

    replace_files(value, keep)
    return iter(found)
