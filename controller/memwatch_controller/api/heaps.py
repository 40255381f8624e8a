"""HeapService: what is inside a stored snapshot."""

from typing import Any, Protocol

from memwatch_controller.api import fields
from memwatch_controller.api.status import unary
from memwatch_proto.v1 import heaps_pb2 as pb
from memwatch_proto.v1 import heaps_pb2_grpc

_STATISTICS = ("total", "native", "typed_arrays", "code", "strings", "js_arrays", "system")

# Each that is ignored changes the ways anew; more than a reader clicks away is a mistake.
_MAX_IGNORED = 100


class Heaps(Protocol):
    """Answers questions about heaps; `memwatch_controller.heaps.Heaps` does."""

    async def ask(self, snapshot_id: str, ask: str, **question: Any) -> dict[str, Any]:
        """The answer to a question about a snapshot."""


class HeapServicer(heaps_pb2_grpc.HeapServiceServicer):
    """Answers HeapService; heaps.proto says what each method promises."""

    def __init__(self, heaps: Heaps) -> None:
        self._heaps = heaps

    @unary
    async def GetHeap(self, request: pb.GetHeapRequest, context: Any) -> pb.Heap:  # noqa: N802
        """Whole figures."""
        snapshot_id = fields.ident("snapshot_id", request.snapshot_id)
        found = await self._heaps.ask(snapshot_id, "heap")
        sizes = {f"{name}_size_bytes": found["statistics"][name] for name in _STATISTICS}
        return pb.Heap(
            snapshot_id=snapshot_id,
            node_count=found["node_count"],
            class_count=found["class_count"],
            root_object_id=found["root"],
            **sizes,
        )

    @unary
    async def ListHeapClasses(  # noqa: N802
        self, request: pb.ListHeapClassesRequest, context: Any
    ) -> pb.ListHeapClassesResponse:
        """Classes, the greatest first."""
        text = fields.name("filter", request.filter)
        found, token = await self._page(request, "classes", filter=text)
        classes = [
            pb.HeapClass(
                key=row["key"],
                class_name=row["name"],
                count=row["count"],
                shallow_size_bytes=row["shallow_bytes"],
            )
            for row in found["rows"]
        ]
        return pb.ListHeapClassesResponse(
            classes=classes, total_count=found["total"], next_page_token=token
        )

    @unary
    async def ListHeapObjects(  # noqa: N802
        self, request: pb.ListHeapObjectsRequest, context: Any
    ) -> pb.ListHeapObjectsResponse:
        """Objects of a class, or dominated by one, or the greatest."""
        if request.WhichOneof("which") == "dominated_by":
            found, token = await self._page(request, "dominated", id=request.dominated_by)
        else:
            found, token = await self._page(
                request,
                "objects",
                class_key=request.class_key,
                by_shallow=request.largest_shallow,
                named=fields.name("name_contains", request.name_contains),
            )
        return pb.ListHeapObjectsResponse(
            objects=[_object(row) for row in found["rows"]],
            total_count=found["total"],
            next_page_token=token,
        )

    @unary
    async def GetHeapObject(  # noqa: N802
        self, request: pb.GetHeapObjectRequest, context: Any
    ) -> pb.HeapObjectDetails:
        """One object with its path and dominators."""
        snapshot_id = fields.ident("snapshot_id", request.snapshot_id)
        ignored = _ignored(request)
        found = await self._heaps.ask(snapshot_id, "object", id=request.object_id, ignored=ignored)
        return pb.HeapObjectDetails(
            object=_object(found["object"]),
            path=[_edge(step) for step in found["path"]],
            dominators=[_object(row) for row in found["dominators"]],
        )

    @unary
    async def ListHeapRetainers(  # noqa: N802
        self, request: pb.ListHeapRetainersRequest, context: Any
    ) -> pb.ListHeapRetainersResponse:
        """Who holds an object."""
        found, token = await self._page(
            request,
            "retainers",
            id=request.object_id,
            weak=request.include_weak,
            ignored=_ignored(request),
        )
        return pb.ListHeapRetainersResponse(
            retainers=[_edge(row) for row in found["rows"]],
            total_count=found["total"],
            next_page_token=token,
        )

    @unary
    async def ListHeapReferences(  # noqa: N802
        self, request: pb.ListHeapReferencesRequest, context: Any
    ) -> pb.ListHeapReferencesResponse:
        """What an object holds."""
        found, token = await self._page(request, "references", id=request.object_id)
        return pb.ListHeapReferencesResponse(
            references=[_edge(row) for row in found["rows"]],
            total_count=found["total"],
            next_page_token=token,
        )

    @unary
    async def ListHeapScopes(  # noqa: N802
        self, request: pb.ListHeapScopesRequest, context: Any
    ) -> pb.ListHeapScopesResponse:
        """Variables that closures keep alive."""
        found, token = await self._page(request, "scopes")
        return pb.ListHeapScopesResponse(
            scopes=[_scope(row) for row in found["rows"]],
            total_count=found["total"],
            next_page_token=token,
        )

    @unary
    async def ListHeapDuplicateStrings(  # noqa: N802
        self, request: pb.ListHeapDuplicateStringsRequest, context: Any
    ) -> pb.ListHeapDuplicateStringsResponse:
        """Texts that many strings hold."""
        found, token = await self._page(request, "duplicates")
        return pb.ListHeapDuplicateStringsResponse(
            strings=[
                pb.HeapDuplicateString(
                    text=row["text"],
                    count=row["count"],
                    size_bytes=row["bytes"],
                    wasted_size_bytes=row["wasted_bytes"],
                    sample_object_ids=row["nodes"],
                )
                for row in found["rows"]
            ],
            total_count=found["total"],
            next_page_token=token,
        )

    async def _page(self, request: Any, ask: str, **question: Any) -> tuple[dict[str, Any], str]:
        """A page of answers, and the token of the next one."""
        snapshot_id = fields.ident("snapshot_id", request.snapshot_id)
        size = fields.page_size(request.page_size)
        at = fields.cursor(request.page_token)
        offset = max(0, at[0]) if at else 0
        found = await self._heaps.ask(snapshot_id, ask, offset=offset, limit=size, **question)
        end = offset + size
        return found, fields.token(end, "") if end < found["total"] else ""


def _object(row: dict[str, Any]) -> pb.HeapObject:
    message = pb.HeapObject(
        id=row["id"],
        name=row["name"],
        kind=row["kind"],
        class_name=row["class_name"],
        shallow_size_bytes=row["shallow_bytes"],
        retained_size_bytes=row["retained_bytes"],
        distance=row["distance"],
    )
    if row["location"] is not None:
        script, line, column = row["location"]
        message.location.CopyFrom(pb.HeapLocation(script_id=script, line=line, column=column))
    return message


def _edge(row: dict[str, Any]) -> pb.HeapEdge:
    return pb.HeapEdge(kind=row["kind"], label=row["label"], object=_object(row["node"]))


def _ignored(request: pb.GetHeapObjectRequest | pb.ListHeapRetainersRequest) -> list[int]:
    if len(request.ignored_object_ids) > _MAX_IGNORED:
        raise fields.bad_field("ignored_object_ids", f"must hold {_MAX_IGNORED} ids at most")
    return list(request.ignored_object_ids)


def _scope(row: dict[str, Any]) -> pb.HeapScope:
    functions = [
        pb.HeapScopeFunction(
            name=sharer["function"],
            script=sharer["script"],
            line=sharer["line"],
            closure_count=sharer["closures"],
        )
        for sharer in row["sharers"]
    ]
    variables = [
        pb.HeapScopeVariable(
            name=slot["name"],
            value_count=slot["values"],
            value_class=slot["value_class"],
            retained_size_bytes=slot["retained_bytes"],
            state=slot["state"],
            reason=slot["why"],
        )
        for slot in row["slots"]
    ]
    return pb.HeapScope(
        function=row["function"],
        script=row["script"],
        line=row["line"],
        context_count=row["contexts"],
        retained_size_bytes=row["retained_bytes"],
        unread_size_bytes=row["unread_bytes"],
        held_otherwise=row["running"],
        functions=functions,
        variables=variables,
        sample_object_ids=row["samples"],
    )
