"""ControllerService over gRPC: what a caller asks before anything else."""

from collections.abc import Callable
from typing import Any

from memwatch_controller.api.convert_snapshots import time_to_pb
from memwatch_controller.api.status import unary
from memwatch_controller.diagnosis.checks import State
from memwatch_controller.diagnosis.service import Diagnosis
from memwatch_controller.model import Millis
from memwatch_proto import __version__
from memwatch_proto.v1 import controllers_pb2, controllers_pb2_grpc


class ControllerServicer(controllers_pb2_grpc.ControllerServiceServicer):
    """Answers ControllerService."""

    def __init__(
        self,
        start_time: Millis,
        http_address: str,
        diagnosis: Diagnosis,
        now: Callable[[], Millis],
    ) -> None:
        self._start_time = start_time
        self._http_address = http_address
        self._diagnosis = diagnosis
        self._now = now

    async def GetController(  # noqa: N802
        self, _request: controllers_pb2.GetControllerRequest, _context: Any
    ) -> controllers_pb2.Controller:
        """Version and addresses."""
        return controllers_pb2.Controller(
            version=__version__,
            start_time=time_to_pb(self._start_time),
            http_address=self._http_address,
        )

    @unary
    async def Diagnose(  # noqa: N802
        self, request: controllers_pb2.DiagnoseRequest, _context: Any
    ) -> controllers_pb2.DiagnoseResponse:
        """Whether everything that captures need is in order."""
        found = await self._diagnosis.checks(request.namespace)
        return controllers_pb2.DiagnoseResponse(
            checks=[
                controllers_pb2.Check(
                    name=one.name,
                    state=_STATES[one.state],
                    message=one.message,
                    next_step=one.next_step,
                    subjects=one.subjects,
                )
                for one in found
            ],
            time=time_to_pb(self._now()),
        )


_STATES = {
    State.OK: controllers_pb2.CHECK_STATE_OK,
    State.WARNING: controllers_pb2.CHECK_STATE_WARNING,
    State.FAILED: controllers_pb2.CHECK_STATE_FAILED,
    State.SKIPPED: controllers_pb2.CHECK_STATE_SKIPPED,
}
