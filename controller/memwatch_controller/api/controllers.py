"""ControllerService over gRPC: what a caller asks before anything else."""

from typing import Any

from memwatch_controller.api.convert_snapshots import time_to_pb
from memwatch_controller.model import Millis
from memwatch_proto import __version__
from memwatch_proto.v1 import controllers_pb2, controllers_pb2_grpc


class ControllerServicer(controllers_pb2_grpc.ControllerServiceServicer):
    """Answers ControllerService."""

    def __init__(self, start_time: Millis, http_address: str) -> None:
        self._start_time = start_time
        self._http_address = http_address

    async def GetController(  # noqa: N802
        self, _request: controllers_pb2.GetControllerRequest, _context: Any
    ) -> controllers_pb2.Controller:
        """Version and addresses."""
        return controllers_pb2.Controller(
            version=__version__,
            start_time=time_to_pb(self._start_time),
            http_address=self._http_address,
        )
