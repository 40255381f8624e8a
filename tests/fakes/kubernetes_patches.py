"""Of the fake Kubernetes API server: the three kinds of patches. Pure.

The strategic merge knows the merge keys of the lists that memwatch patches, as the API's types
declare them (`patchMergeKey`); every other list is replaced, which is the API's rule as well.
"""

import copy

import jsonpatch

#: By the name of a list: the key its elements are told apart by.
MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "conditions": "type",
    "ownerReferences": "uid",
    "webhooks": "name",
    "hostAliases": "ip",
}

#: Lists of plain values that are united.
UNITED = ("finalizers",)


def merge(old, patch):
    """A JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def strategic(old, patch):
    """A strategic merge patch: as above, but lists with a merge key are merged by it."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            result.pop(key, None)
        elif isinstance(value, list):
            result[key] = _list(key, result.get(key) or [], value)
        else:
            result[key] = strategic(result.get(key), value)
    return result


def _list(name, old, patch):
    if name in UNITED:
        return [*old, *(value for value in patch if value not in old)]
    key = MERGE_KEYS.get(name)
    if key is None or not all(isinstance(item, dict) for item in patch):
        return copy.deepcopy(patch)
    merged = {item.get(key): item for item in old}
    for item in patch:
        if item.get("$patch") == "delete":
            merged.pop(item.get(key), None)
        else:
            merged[item.get(key)] = strategic(merged.get(item.get(key)) or {}, item)
    return list(merged.values())


def json_patch(old, operations):
    """A JSON patch (RFC 6902).

    Raises:
        ValueError: an operation cannot be done, or a test fails.
    """
    try:
        return jsonpatch.apply_patch(old, operations)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise ValueError(str(error) or type(error).__name__) from error
