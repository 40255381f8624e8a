"""Routes into the heap of a stored snapshot."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse
from pydantic import Field

from memwatch_controller.api.fields import bad_field
from memwatch_controller.api.fields import ident as checked
from memwatch_controller.api.http import answers
from memwatch_controller.api.http.gateway import call
from memwatch_controller.api.http.routes import Faces
from memwatch_proto.v1 import heaps_pb2 as pb

_Snapshot = Annotated[str, Path(description="The snapshot's id.", max_length=256)]
_Object = Annotated[int, Path(description="The object's id in it.", ge=0, le=2**64 - 1)]
_Id = Annotated[int, Field(ge=0, le=2**64 - 1)]
_Ignored = Annotated[
    list[_Id] | None, Query(description="As if these objects held nothing.", max_length=100)
]
_PageSize = Annotated[int, Query(description="At most so many; 0: 100; at most 1000.", ge=0)]
_PageToken = Annotated[str, Query(description="`next_page_token` of the page before.")]


def router(faces: Faces) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/snapshots/{id}/heap", tags=["heaps"])
    _whole(routes, faces)
    _objects(routes, faces)
    _edges(routes, faces)
    _findings(routes, faces)
    return routes


def _whole(routes: APIRouter, faces: Faces) -> None:
    @routes.get("", operation_id="GetHeap", responses=answers.of(pb.Heap))
    async def get_heap(id: _Snapshot) -> JSONResponse:
        """Whole figures. The first question about a snapshot builds its index."""
        request = pb.GetHeapRequest(snapshot_id=checked("id", id))
        return await call(faces.heaps.GetHeap, request)

    @routes.get(
        "/classes",
        operation_id="ListHeapClasses",
        responses=answers.of(pb.ListHeapClassesResponse),
    )
    async def list_classes(
        id: _Snapshot,
        wanted: Annotated[
            str, Query(alias="filter", description="Only names that hold this.")
        ] = "",
        page_size: _PageSize = 0,
        page_token: _PageToken = "",
    ) -> JSONResponse:
        """Classes, the greatest shallow size first."""
        request = pb.ListHeapClassesRequest(
            snapshot_id=checked("id", id),
            filter=wanted,
            page_size=min(page_size, 1_000),
            page_token=page_token,
        )
        return await call(faces.heaps.ListHeapClasses, request)


def _objects(routes: APIRouter, faces: Faces) -> None:
    @routes.get(
        "/objects",
        operation_id="ListHeapObjects",
        responses=answers.of(pb.ListHeapObjectsResponse),
    )
    async def list_objects(
        id: _Snapshot,
        class_key: Annotated[str, Query(description="Those of the class with this key.")] = "",
        dominated_by: Annotated[
            int | None, Query(description="What this object dominates at once.", ge=0, lt=2**64)
        ] = None,
        largest_shallow: Annotated[
            bool, Query(description="The 10,000 that are the largest themselves.")
        ] = False,
        name_contains: Annotated[
            str, Query(description="Those whose name, or text, holds this.")
        ] = "",
        page_size: _PageSize = 0,
        page_token: _PageToken = "",
    ) -> JSONResponse:
        """Objects, those that retain the most first; at most one of the choices is given."""
        choices: dict[str, Any] = {
            "class_key": class_key or None,
            "dominated_by": dominated_by,
            "largest_shallow": largest_shallow or None,
            "name_contains": name_contains or None,
        }
        chosen = {name: value for name, value in choices.items() if value is not None}
        if len(chosen) > 1:
            raise bad_field(next(iter(chosen)), f"excludes {', '.join(list(chosen)[1:])}")
        request = pb.ListHeapObjectsRequest(
            snapshot_id=checked("id", id),
            page_size=min(page_size, 1_000),
            page_token=page_token,
            **chosen,
        )
        return await call(faces.heaps.ListHeapObjects, request)

    @routes.get(
        "/objects/{object_id}",
        operation_id="GetHeapObject",
        responses=answers.of(pb.HeapObjectDetails),
    )
    async def get_object(
        id: _Snapshot, object_id: _Object, ignored_object_ids: _Ignored = None
    ) -> JSONResponse:
        """One object, with the shortest way to it from a root and what it hangs on."""
        request = pb.GetHeapObjectRequest(
            snapshot_id=checked("id", id),
            object_id=object_id,
            ignored_object_ids=ignored_object_ids or (),
        )
        return await call(faces.heaps.GetHeapObject, request)


def _edges(routes: APIRouter, faces: Faces) -> None:
    @routes.get(
        "/objects/{object_id}/retainers",
        operation_id="ListHeapRetainers",
        responses=answers.of(pb.ListHeapRetainersResponse),
    )
    async def list_retainers(
        id: _Snapshot,
        object_id: _Object,
        include_weak: Annotated[bool, Query(description="Weak edges too.")] = False,
        ignored_object_ids: _Ignored = None,
        page_size: _PageSize = 0,
        page_token: _PageToken = "",
    ) -> JSONResponse:
        """Who holds an object, the nearest to a root first."""
        request = pb.ListHeapRetainersRequest(
            snapshot_id=checked("id", id),
            object_id=object_id,
            include_weak=include_weak,
            ignored_object_ids=ignored_object_ids or (),
            page_size=min(page_size, 1_000),
            page_token=page_token,
        )
        return await call(faces.heaps.ListHeapRetainers, request)

    @routes.get(
        "/objects/{object_id}/references",
        operation_id="ListHeapReferences",
        responses=answers.of(pb.ListHeapReferencesResponse),
    )
    async def list_references(
        id: _Snapshot, object_id: _Object, page_size: _PageSize = 0, page_token: _PageToken = ""
    ) -> JSONResponse:
        """What an object holds, in the order of the snapshot."""
        request = pb.ListHeapReferencesRequest(
            snapshot_id=checked("id", id),
            object_id=object_id,
            page_size=min(page_size, 1_000),
            page_token=page_token,
        )
        return await call(faces.heaps.ListHeapReferences, request)


def _findings(routes: APIRouter, faces: Faces) -> None:
    @routes.get(
        "/scopes",
        operation_id="ListHeapScopes",
        responses=answers.of(pb.ListHeapScopesResponse),
    )
    async def list_scopes(
        id: _Snapshot, page_size: _PageSize = 0, page_token: _PageToken = ""
    ) -> JSONResponse:
        """Variables that JavaScript closures keep alive, and which of them nobody reads."""
        request = pb.ListHeapScopesRequest(
            snapshot_id=checked("id", id),
            page_size=min(page_size, 1_000),
            page_token=page_token,
        )
        return await call(faces.heaps.ListHeapScopes, request)

    @routes.get(
        "/duplicate-strings",
        operation_id="ListHeapDuplicateStrings",
        responses=answers.of(pb.ListHeapDuplicateStringsResponse),
    )
    async def list_duplicate_strings(
        id: _Snapshot, page_size: _PageSize = 0, page_token: _PageToken = ""
    ) -> JSONResponse:
        """Texts that many strings hold, those that waste the most first."""
        request = pb.ListHeapDuplicateStringsRequest(
            snapshot_id=checked("id", id),
            page_size=min(page_size, 1_000),
            page_token=page_token,
        )
        return await call(faces.heaps.ListHeapDuplicateStrings, request)
