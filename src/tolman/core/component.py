"""A component is its configuration: constructor arguments, command-line overrides, what a record keeps and the fingerprint all come from one class."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, model_serializer, model_validator
from pydantic.functional_validators import BeforeValidator

from tolman.core.discovery import FOLDERS, from_config
from tolman.core.errors import UserError, suggest


def Operational(default: Any, **constraints: Any) -> Any:
    """A field that only says where or how fast to run. It stays out of the fingerprint; a test proves that it does not change results."""
    return Field(default, json_schema_extra={"operational": True}, **constraints)


def Added(default: Any, **constraints: Any) -> Any:
    """A field that a component got after records of it were kept, whose default means what held before. It is part of the fingerprint only where it is not at
    its default, so that the old records stay valid."""
    return Field(default, json_schema_extra={"added": True}, **constraints)


class Component(BaseModel):
    """Base of datasets, models, methods, retrievers and scorings: frozen fields, each documented under the field.

    A component's address is its folder and file, `datasets/reversals`; the class lives in that file. `revision` is raised when the same fields
    begin to mean something else, so that old records are not taken for new ones. `scales` names sets of field values;
    `example` holds those with which the contracts of `tolman.testing` build it in no time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)
    revision: ClassVar[int] = 1
    scales: ClassVar[dict[str, dict[str, Any]]] = {}
    example: ClassVar[dict[str, Any]] = {}

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise UserError(_sentence(type(self), error)) from error

    @classmethod
    def address(cls) -> str:
        """`folder/name` for a component in one of the discovered folders, else `module:Class`."""
        parts = cls.__module__.split(".")
        if len(parts) >= 3 and parts[-2] in FOLDERS:
            return f"{parts[-2]}/{parts[-1]}"
        return f"{cls.__module__}:{cls.__qualname__}"

    @classmethod
    def at(cls, scale: str, **overrides: Any) -> Self:
        """The component with the field values that `scale` names. Raises UserError for an unknown scale."""
        if scale not in cls.scales:
            raise UserError(f"{cls.address()} has no scale {scale!r}; {suggest(scale, cls.scales)}")
        return cls(**(cls.scales[scale] | overrides))

    def identity(self) -> dict[str, Any]:
        """What the results depend on: address, revision and every field that is not operational (nor added and at its default), nested components likewise."""
        fields = {}
        for name, info in type(self).model_fields.items():
            marks, value = info.json_schema_extra, getattr(self, name)
            if isinstance(marks, dict) and (marks.get("operational") or (marks.get("added") and value == info.default)):
                continue
            fields[name] = value.identity() if isinstance(value, Component) else json.loads(_dump_field(self, name))
        return {"is": self.address(), "revision": self.revision, **fields}

    def fingerprint(self) -> str:
        """16 hex digits that change when the identity does."""
        return digest(self.identity())

    def replace(self, path: str, value: Any) -> Self:
        """A copy in which the field at dotted `path` has `value`, validated anew. Raises UserError for an unknown field."""
        return self.replace_all({path: value})

    def replace_all(self, values: Mapping[str, Any]) -> Self:
        """A copy with several fields changed at once, so that sizes which depend on one another are judged together."""
        changed: dict[str, Any] = {}
        inner: dict[str, dict[str, Any]] = {}
        for path, value in values.items():
            head, _, rest = path.partition(".")
            if head not in type(self).model_fields:
                raise UserError(f"{self.address()} has no field {head!r}; {suggest(head, type(self).model_fields)}")
            if rest:
                inner.setdefault(head, {})[rest] = value
            else:
                changed[head] = value
        for head, nested in inner.items():
            holder = getattr(self, head)
            if not isinstance(holder, Component):
                raise UserError(f"{self.address()}.{head} holds no component, so it has no field {next(iter(nested))!r}")
            changed[head] = holder.replace_all(nested)
        return type(self)(**({name: getattr(self, name) for name in type(self).model_fields} | changed))

    def config(self) -> dict[str, Any]:
        """All fields as JSON values; `from_config` builds the component again."""
        return self.model_dump(mode="json")

    @model_serializer(mode="wrap")
    def _with_address(self, handler: Any) -> dict[str, Any]:
        return {"is": self.address(), **handler(self)}

    @model_validator(mode="before")
    @classmethod
    def _without_address(cls, data: Any) -> Any:
        if isinstance(data, dict) and "is" in data:
            data = dict(data)
            if (given := data.pop("is")) != cls.address():
                raise UserError(f"this configures {given}, not {cls.address()}")
        return data


def digest(value: Any) -> str:
    """16 hex digits of the JSON of `value`."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _build(value: Any) -> Any:
    if isinstance(value, dict) and "is" in value:
        return from_config(value)
    return value


Nested = Annotated[SerializeAsAny[Component], BeforeValidator(_build)]
"""The type of a field that holds another component, whichever folder it comes from."""


def _dump_field(component: Component, name: str) -> str:
    return json.dumps(component.model_dump(mode="json", include={name})[name])


def _sentence(cls: type[Component], error: ValidationError) -> str:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{cls.address()} has no field {field!r}; {suggest(field, cls.model_fields)}"
    if first["type"] == "missing":
        return f"{cls.address()} needs the field {field!r}"
    message = first["msg"].removeprefix("Value error, ")
    if not field:
        return f"{cls.address()}: {message}"
    return f"{cls.address()}.{field} = {first['input']!r}: {message[0].lower()}{message[1:]}"
