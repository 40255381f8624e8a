"""ClusterService over gRPC."""

from typing import Any

from memwatch_controller.api import convert, fields
from memwatch_controller.api.status import unary
from memwatch_controller.cluster import attachments
from memwatch_controller.cluster.attaching import DEFAULT_KEEP_MILLIS, Wish
from memwatch_controller.cluster.attachments import Attachments
from memwatch_controller.errors import InvalidArgumentError
from memwatch_proto.v1 import clusters_pb2, clusters_pb2_grpc


class ClusterServicer(clusters_pb2_grpc.ClusterServiceServicer):
    """Answers ClusterService; clusters.proto says what each method promises."""

    def __init__(self, attachments: Attachments) -> None:
        self._attachments = attachments

    @unary
    async def AttachAgent(  # noqa: N802
        self, request: clusters_pb2.AttachAgentRequest, _context: Any
    ) -> clusters_pb2.AttachAgentResponse:
        """An agent in a running pod."""
        if not request.namespace or not request.pod:
            raise InvalidArgumentError("attach an agent", "namespace and pod are needed")
        wish = Wish(
            request.container,
            request.user if request.HasField("user") else None,
            request.keep_millis or DEFAULT_KEEP_MILLIS,
        )
        made = await self._attachments.attach(
            request.pod,
            request.namespace,
            wish,
            request.wait_millis or attachments.DEFAULT_WAIT_MILLIS,
            dry_run=request.dry_run,
        )
        return clusters_pb2.AttachAgentResponse(
            patch=made.patch,
            container=made.container,
            agent=convert.agent_to_pb(made.agent) if made.agent else None,
            targets=[convert.target_to_pb(target) for target in made.targets],
            notes=made.notes,
        )

    @unary
    async def DetachAgent(  # noqa: N802
        self, request: clusters_pb2.DetachAgentRequest, _context: Any
    ) -> clusters_pb2.DetachAgentResponse:
        """Ends an attached agent."""
        await self._attachments.detach(fields.ident("agent_id", request.agent_id))
        return clusters_pb2.DetachAgentResponse()
