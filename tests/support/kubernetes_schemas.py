"""Whether a strict Kubernetes server would take an object, by its published schemas.

`kubernetes_validate` reads its schemas anew for each object, a second of CPU for a chart; here
each is read once.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

import jsonschema
from kubernetes_validate import utils
from referencing import Registry, Resource


def complaint(made: Mapping[str, Any], version: str = "1.33") -> str:
    """Why a strict server of a version would refuse an object; empty where it would take it."""
    validator = _validator(str(made["kind"]).lower(), str(made["apiVersion"]), version)
    error = jsonschema.exceptions.best_match(validator.iter_errors(made))
    return f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}" if error else ""


@functools.cache
def _validator(kind: str, api: str, version: str) -> Any:
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api)  # as the schemas' files are called
    schema = _schema(f"{kind}-{group}.json", version)
    registry: Any = _resource(f"{kind}-{group}.json", version) @ Registry()
    registry = _resource("_definitions.json", version) @ registry
    return jsonschema.Draft202012Validator(schema, registry=registry)


@functools.cache
def _schema(name: str, version: str) -> Any:
    folder = f"kubernetes-json-schema/v{version}.0-local-strict"
    return utils.schema_contents(f"{folder}/{name}", version)


@functools.cache
def _resource(name: str, version: str) -> Resource[Any]:
    return Resource.from_contents(_schema(name, version))
