"""What every component must keep, whatever folder it is in; and how the contracts build one."""

import json
from collections.abc import Iterator
from typing import Any

from tolman.core.component import Component
from tolman.core.discovery import from_config
from tolman.core.errors import UserError


def smallest(cls: type[Component]) -> Component:
    """The component at its smallest: scale `quick` where it has one, with the fields of its `example`. Raises AssertionError if these do not build it."""
    try:
        return cls(**(cls.scales.get("quick", {}) | cls.example))
    except UserError as error:
        raise AssertionError(f"{cls.address()} cannot be built from its defaults: {error}; give the class an `example`") from error


def operational(cls: type[Component]) -> list[str]:
    """The fields that only say where or how fast to run."""
    return [name for name, info in cls.model_fields.items() if isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("operational")]


def alternatives(component: Component) -> Iterator[tuple[str, Any]]:
    """(operational field, another value for it): those named in the class's `alternatives`, else the other boolean, or the neighbours of a whole number."""
    named = getattr(type(component), "alternatives", {})
    for name in operational(type(component)):
        value = getattr(component, name)
        if name in named:
            tried = list(named[name])
        elif isinstance(value, bool):
            tried = [not value]
        elif isinstance(value, int):
            tried = [value + 1, value - 1]
        else:
            tried = []
        for other in tried:
            try:
                component.replace(name, other)
            except UserError:
                continue  # not a possible value
            yield name, other


def check_component(component: Component) -> None:
    """Its configuration is JSON that builds it again, its fields are documented, operational ones stay out of the fingerprint, unknown ones are refused."""
    cls, me = type(component), component.address()
    assert (cls.__doc__ or "").strip() and cls.__doc__ != Component.__doc__, f"{me} has no docstring"
    for name, info in cls.model_fields.items():
        assert info.description, f"{me}.{name} has no docstring under the field"
    config = json.loads(json.dumps(component.config()))
    again = from_config(config)
    assert again == component, f"{me} is not the same after config and from_config"
    assert again.fingerprint() == component.fingerprint(), f"{me} changes its fingerprint by config and from_config"
    json.dumps(component.identity(), allow_nan=False)
    for name, other in alternatives(component):
        assert component.replace(name, other).fingerprint() == component.fingerprint(), f"{me}.{name} is operational, yet changes the fingerprint"
    required = {name: value for name, value in cls.example.items() if cls.model_fields[name].is_required()}
    for scale, fields in cls.scales.items():
        assert set(fields) <= set(cls.model_fields), f"{me} has no such fields as its scale {scale!r} sets: {sorted(set(fields) - set(cls.model_fields))}"
        cls(**(required | fields))
    try:
        cls(**(cls.example | {"no_such_field": 1}))
    except UserError as error:
        assert "no_such_field" in str(error), f"{me} refuses an unknown field without naming it: {error}"
    else:
        raise AssertionError(f"{me} accepts a field that it does not have")
