from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Heap(_message.Message):
    __slots__ = ("snapshot_id", "node_count", "class_count", "total_size_bytes", "native_size_bytes", "typed_arrays_size_bytes", "code_size_bytes", "strings_size_bytes", "js_arrays_size_bytes", "system_size_bytes", "root_object_id")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_COUNT_FIELD_NUMBER: _ClassVar[int]
    CLASS_COUNT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    NATIVE_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TYPED_ARRAYS_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CODE_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STRINGS_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    JS_ARRAYS_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    ROOT_OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    node_count: int
    class_count: int
    total_size_bytes: int
    native_size_bytes: int
    typed_arrays_size_bytes: int
    code_size_bytes: int
    strings_size_bytes: int
    js_arrays_size_bytes: int
    system_size_bytes: int
    root_object_id: int
    def __init__(self, snapshot_id: _Optional[str] = ..., node_count: _Optional[int] = ..., class_count: _Optional[int] = ..., total_size_bytes: _Optional[int] = ..., native_size_bytes: _Optional[int] = ..., typed_arrays_size_bytes: _Optional[int] = ..., code_size_bytes: _Optional[int] = ..., strings_size_bytes: _Optional[int] = ..., js_arrays_size_bytes: _Optional[int] = ..., system_size_bytes: _Optional[int] = ..., root_object_id: _Optional[int] = ...) -> None: ...

class HeapClass(_message.Message):
    __slots__ = ("key", "class_name", "count", "shallow_size_bytes")
    KEY_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SHALLOW_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    key: str
    class_name: str
    count: int
    shallow_size_bytes: int
    def __init__(self, key: _Optional[str] = ..., class_name: _Optional[str] = ..., count: _Optional[int] = ..., shallow_size_bytes: _Optional[int] = ...) -> None: ...

class HeapObject(_message.Message):
    __slots__ = ("id", "name", "kind", "class_name", "shallow_size_bytes", "retained_size_bytes", "distance", "location")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    SHALLOW_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RETAINED_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    kind: str
    class_name: str
    shallow_size_bytes: int
    retained_size_bytes: int
    distance: int
    location: HeapLocation
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., kind: _Optional[str] = ..., class_name: _Optional[str] = ..., shallow_size_bytes: _Optional[int] = ..., retained_size_bytes: _Optional[int] = ..., distance: _Optional[int] = ..., location: _Optional[_Union[HeapLocation, _Mapping]] = ...) -> None: ...

class HeapLocation(_message.Message):
    __slots__ = ("script_id", "line", "column")
    SCRIPT_ID_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    script_id: int
    line: int
    column: int
    def __init__(self, script_id: _Optional[int] = ..., line: _Optional[int] = ..., column: _Optional[int] = ...) -> None: ...

class HeapEdge(_message.Message):
    __slots__ = ("kind", "label", "object")
    KIND_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    label: str
    object: HeapObject
    def __init__(self, kind: _Optional[str] = ..., label: _Optional[str] = ..., object: _Optional[_Union[HeapObject, _Mapping]] = ...) -> None: ...

class HeapObjectDetails(_message.Message):
    __slots__ = ("object", "path", "dominators")
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    DOMINATORS_FIELD_NUMBER: _ClassVar[int]
    object: HeapObject
    path: _containers.RepeatedCompositeFieldContainer[HeapEdge]
    dominators: _containers.RepeatedCompositeFieldContainer[HeapObject]
    def __init__(self, object: _Optional[_Union[HeapObject, _Mapping]] = ..., path: _Optional[_Iterable[_Union[HeapEdge, _Mapping]]] = ..., dominators: _Optional[_Iterable[_Union[HeapObject, _Mapping]]] = ...) -> None: ...

class GetHeapRequest(_message.Message):
    __slots__ = ("snapshot_id",)
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    def __init__(self, snapshot_id: _Optional[str] = ...) -> None: ...

class ListHeapClassesRequest(_message.Message):
    __slots__ = ("snapshot_id", "filter", "page_size", "page_token")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    filter: str
    page_size: int
    page_token: str
    def __init__(self, snapshot_id: _Optional[str] = ..., filter: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListHeapClassesResponse(_message.Message):
    __slots__ = ("classes", "total_count", "next_page_token")
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    classes: _containers.RepeatedCompositeFieldContainer[HeapClass]
    total_count: int
    next_page_token: str
    def __init__(self, classes: _Optional[_Iterable[_Union[HeapClass, _Mapping]]] = ..., total_count: _Optional[int] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListHeapObjectsRequest(_message.Message):
    __slots__ = ("snapshot_id", "class_key", "dominated_by", "largest_shallow", "name_contains", "page_size", "page_token")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    CLASS_KEY_FIELD_NUMBER: _ClassVar[int]
    DOMINATED_BY_FIELD_NUMBER: _ClassVar[int]
    LARGEST_SHALLOW_FIELD_NUMBER: _ClassVar[int]
    NAME_CONTAINS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    class_key: str
    dominated_by: int
    largest_shallow: bool
    name_contains: str
    page_size: int
    page_token: str
    def __init__(self, snapshot_id: _Optional[str] = ..., class_key: _Optional[str] = ..., dominated_by: _Optional[int] = ..., largest_shallow: _Optional[bool] = ..., name_contains: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListHeapObjectsResponse(_message.Message):
    __slots__ = ("objects", "total_count", "next_page_token")
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    objects: _containers.RepeatedCompositeFieldContainer[HeapObject]
    total_count: int
    next_page_token: str
    def __init__(self, objects: _Optional[_Iterable[_Union[HeapObject, _Mapping]]] = ..., total_count: _Optional[int] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetHeapObjectRequest(_message.Message):
    __slots__ = ("snapshot_id", "object_id", "ignored_object_ids")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    IGNORED_OBJECT_IDS_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    object_id: int
    ignored_object_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, snapshot_id: _Optional[str] = ..., object_id: _Optional[int] = ..., ignored_object_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class ListHeapRetainersRequest(_message.Message):
    __slots__ = ("snapshot_id", "object_id", "include_weak", "page_size", "page_token", "ignored_object_ids")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_WEAK_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    IGNORED_OBJECT_IDS_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    object_id: int
    include_weak: bool
    page_size: int
    page_token: str
    ignored_object_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, snapshot_id: _Optional[str] = ..., object_id: _Optional[int] = ..., include_weak: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., ignored_object_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class ListHeapRetainersResponse(_message.Message):
    __slots__ = ("retainers", "total_count", "next_page_token")
    RETAINERS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    retainers: _containers.RepeatedCompositeFieldContainer[HeapEdge]
    total_count: int
    next_page_token: str
    def __init__(self, retainers: _Optional[_Iterable[_Union[HeapEdge, _Mapping]]] = ..., total_count: _Optional[int] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListHeapReferencesRequest(_message.Message):
    __slots__ = ("snapshot_id", "object_id", "page_size", "page_token")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    object_id: int
    page_size: int
    page_token: str
    def __init__(self, snapshot_id: _Optional[str] = ..., object_id: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListHeapReferencesResponse(_message.Message):
    __slots__ = ("references", "total_count", "next_page_token")
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    references: _containers.RepeatedCompositeFieldContainer[HeapEdge]
    total_count: int
    next_page_token: str
    def __init__(self, references: _Optional[_Iterable[_Union[HeapEdge, _Mapping]]] = ..., total_count: _Optional[int] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class HeapScope(_message.Message):
    __slots__ = ("function", "script", "line", "context_count", "retained_size_bytes", "unread_size_bytes", "held_otherwise", "functions", "variables", "sample_object_ids")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    SCRIPT_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_COUNT_FIELD_NUMBER: _ClassVar[int]
    RETAINED_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    UNREAD_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    HELD_OTHERWISE_FIELD_NUMBER: _ClassVar[int]
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    VARIABLES_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_OBJECT_IDS_FIELD_NUMBER: _ClassVar[int]
    function: str
    script: str
    line: int
    context_count: int
    retained_size_bytes: int
    unread_size_bytes: int
    held_otherwise: bool
    functions: _containers.RepeatedCompositeFieldContainer[HeapScopeFunction]
    variables: _containers.RepeatedCompositeFieldContainer[HeapScopeVariable]
    sample_object_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, function: _Optional[str] = ..., script: _Optional[str] = ..., line: _Optional[int] = ..., context_count: _Optional[int] = ..., retained_size_bytes: _Optional[int] = ..., unread_size_bytes: _Optional[int] = ..., held_otherwise: _Optional[bool] = ..., functions: _Optional[_Iterable[_Union[HeapScopeFunction, _Mapping]]] = ..., variables: _Optional[_Iterable[_Union[HeapScopeVariable, _Mapping]]] = ..., sample_object_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class HeapScopeFunction(_message.Message):
    __slots__ = ("name", "script", "line", "closure_count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SCRIPT_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    CLOSURE_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    script: str
    line: int
    closure_count: int
    def __init__(self, name: _Optional[str] = ..., script: _Optional[str] = ..., line: _Optional[int] = ..., closure_count: _Optional[int] = ...) -> None: ...

class HeapScopeVariable(_message.Message):
    __slots__ = ("name", "value_count", "value_class", "retained_size_bytes", "state", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_COUNT_FIELD_NUMBER: _ClassVar[int]
    VALUE_CLASS_FIELD_NUMBER: _ClassVar[int]
    RETAINED_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    value_count: int
    value_class: str
    retained_size_bytes: int
    state: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., value_count: _Optional[int] = ..., value_class: _Optional[str] = ..., retained_size_bytes: _Optional[int] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ListHeapScopesRequest(_message.Message):
    __slots__ = ("snapshot_id", "page_size", "page_token")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    page_size: int
    page_token: str
    def __init__(self, snapshot_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListHeapScopesResponse(_message.Message):
    __slots__ = ("scopes", "total_count", "next_page_token")
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    scopes: _containers.RepeatedCompositeFieldContainer[HeapScope]
    total_count: int
    next_page_token: str
    def __init__(self, scopes: _Optional[_Iterable[_Union[HeapScope, _Mapping]]] = ..., total_count: _Optional[int] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class HeapDuplicateString(_message.Message):
    __slots__ = ("text", "count", "size_bytes", "wasted_size_bytes", "sample_object_ids")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    WASTED_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_OBJECT_IDS_FIELD_NUMBER: _ClassVar[int]
    text: str
    count: int
    size_bytes: int
    wasted_size_bytes: int
    sample_object_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, text: _Optional[str] = ..., count: _Optional[int] = ..., size_bytes: _Optional[int] = ..., wasted_size_bytes: _Optional[int] = ..., sample_object_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class ListHeapDuplicateStringsRequest(_message.Message):
    __slots__ = ("snapshot_id", "page_size", "page_token")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    page_size: int
    page_token: str
    def __init__(self, snapshot_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListHeapDuplicateStringsResponse(_message.Message):
    __slots__ = ("strings", "total_count", "next_page_token")
    STRINGS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    strings: _containers.RepeatedCompositeFieldContainer[HeapDuplicateString]
    total_count: int
    next_page_token: str
    def __init__(self, strings: _Optional[_Iterable[_Union[HeapDuplicateString, _Mapping]]] = ..., total_count: _Optional[int] = ..., next_page_token: _Optional[str] = ...) -> None: ...
