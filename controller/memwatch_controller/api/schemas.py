"""Messages as JSON: the protobuf mapping with the protos' own field names, and its schemas."""

from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from memwatch_controller.api.protodocs import comments

#: The JSON type of each kind of field; 64-bit integers are strings, as JSON's numbers are doubles.
_SCALARS: dict[int, dict[str, Any]] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "format": "byte"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "format": "uint32", "minimum": 0},
    FieldDescriptor.TYPE_FIXED32: {"type": "integer", "format": "uint32", "minimum": 0},
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64", "pattern": r"^-?\d+$"},
    FieldDescriptor.TYPE_UINT64: {"type": "string", "format": "uint64", "pattern": r"^\d+$"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
}

#: Protobuf has several implementations of descriptors, without a common type.
_Descriptor = Any

_TIMESTAMP = "google.protobuf.Timestamp"


def to_json(message: Message) -> dict[str, Any]:
    """A message as JSON: every field that has no "absent" is there, with its default too."""
    found: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return found


def ref(descriptor: _Descriptor) -> dict[str, Any]:
    """The schema of a message, by reference."""
    return {"$ref": f"#/components/schemas/{descriptor.name}"}


def description(descriptor: _Descriptor) -> str:
    """What the protos say of a message."""
    return comments().get(descriptor.name, "")


def components(*roots: _Descriptor) -> dict[str, Any]:
    """The schemas of these messages and of all that they hold, by name."""
    found: dict[str, Any] = {}
    for root in roots:
        _add(root, found)
    return dict(sorted(found.items()))


def _add(descriptor: _Descriptor, found: dict[str, Any]) -> None:
    if descriptor.name in found or descriptor.full_name == _TIMESTAMP:
        return
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    found[descriptor.name] = schema
    if note := comments().get(descriptor.name):
        schema["description"] = note
    for field in descriptor.fields:
        schema["properties"][field.name] = _described(descriptor, field, found)


def _described(owner: _Descriptor, field: _Descriptor, found: dict[str, Any]) -> dict[str, Any]:
    schema = _repeated(field, found)
    note = comments().get(f"{owner.name}.{field.name}")
    if note is None:
        return schema
    return (
        {"allOf": [schema], "description": note}
        if "$ref" in schema
        else {
            **schema,
            "description": note,
        }
    )


def _repeated(field: _Descriptor, found: dict[str, Any]) -> dict[str, Any]:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return {
            "type": "object",
            "additionalProperties": _one(message.fields_by_name["value"], found),
        }
    schema = _one(field, found)
    return {"type": "array", "items": schema} if field.is_repeated else schema


def _one(field: _Descriptor, found: dict[str, Any]) -> dict[str, Any]:
    if field.message_type is not None:
        if field.message_type.full_name == _TIMESTAMP:
            return {"type": "string", "format": "date-time"}
        _add(field.message_type, found)
        return ref(field.message_type)
    if field.enum_type is not None:
        _add_enum(field.enum_type, found)
        return {"$ref": f"#/components/schemas/{field.enum_type.name}"}
    return dict(_SCALARS[field.type])


def _add_enum(enum: _Descriptor, found: dict[str, Any]) -> None:
    names = [value.name for value in enum.values]
    notes = [f"`{name}`: {comments().get(f'{enum.name}.{name}', '')}" for name in names]
    head = comments().get(enum.name, "")
    found[enum.name] = {"type": "string", "enum": names, "description": " ".join([head, *notes])}
