"""What can go wrong between the controller and a Kubernetes API server.

ClusterError
├── NoClusterError             no API server is configured, or its settings cannot be used
├── ClusterForbiddenError      the role lacks a right; says which
├── ClusterUnauthorizedError   the API server does not know us
├── ClusterNotFoundError       there is no such object
├── ClusterExistsError         there is one of that name already
├── ClusterConflictError       somebody changed the object in between: read it again
├── ClusterExpiredError        a watch or a list cannot be continued from there: list again
├── ClusterInvalidError        the API server refuses the object, or an admission webhook does
├── ClusterBusyError           not now; of an eviction: a disruption budget forbids it
└── ClusterUnavailableError    it does not answer, or not in time
"""

from collections.abc import Mapping

from memwatch_controller.errors import ControllerError


class ClusterError(ControllerError):
    """Base: a call to the API server failed.

    Attributes:
        doing: what was to be done, such as "list pods in namespace 'shop'".
        cause: the API server's own words, or what happened to the connection.
    """

    reason = "CLUSTER_REFUSED"

    def __init__(self, doing: str, cause: str) -> None:
        super().__init__(doing, cause)
        self.doing = doing
        self.cause = cause

    def __str__(self) -> str:
        return f"cannot {self.doing}: {self.cause}{self.next_step}"

    @property
    def next_step(self) -> str:
        """What to do about it, with what joins it to the sentence; empty where that is plain."""
        return ""


class NoClusterError(ClusterError):
    """There is no API server to ask."""

    reason = "NO_CLUSTER"

    def __init__(self, cause: str, doing: str = "talk to a Kubernetes cluster") -> None:
        super().__init__(doing, cause)

    @property
    def next_step(self) -> str:
        """How a controller gets to know one."""
        return (
            "; run the controller in the cluster (deploy/helm), or start it with --cluster and "
            "a kubeconfig"
        )


class ClusterForbiddenError(ClusterError):
    """The controller's role lacks a right.

    Attributes:
        verb, resource, namespace: the right; namespace is empty for the whole cluster.
    """

    reason = "CLUSTER_FORBIDDEN"

    def __init__(self, doing: str, cause: str, verb: str, resource: str, namespace: str) -> None:
        super().__init__(doing, cause)
        self.verb = verb
        self.resource = resource
        self.namespace = namespace

    @property
    def facts(self) -> Mapping[str, str]:
        """The right that is missing."""
        return {"verb": self.verb, "resource": self.resource, "namespace": self.namespace}

    def __str__(self) -> str:
        where = f" in namespace '{self.namespace}'" if self.namespace else " in the cluster"
        return (
            f"cannot {self.doing}: forbidden; give the role of the controller's service account "
            f"the verb '{self.verb}' on '{self.resource}'{where}: switch the mode that needs it "
            "on in the chart (memwatchctl doctor lists what is missing)"
        )


class ClusterUnauthorizedError(ClusterError):
    """The API server does not take our credentials."""

    reason = "CLUSTER_FORBIDDEN"

    @property
    def next_step(self) -> str:
        """Where credentials come from."""
        return "; renew the service account's token, or the user of the kubeconfig"


class ClusterNotFoundError(ClusterError):
    """There is no such object."""

    reason = "CLUSTER_NOT_FOUND"


class ClusterExistsError(ClusterError):
    """An object of that name is there already."""

    reason = "CLUSTER_CONFLICT"


class ClusterConflictError(ClusterError):
    """Somebody else changed the object after it was read."""

    reason = "CLUSTER_CONFLICT"
    transient = True

    @property
    def next_step(self) -> str:
        """Conflicts are resolved by looking again."""
        return "; read it again and try once more"


class ClusterExpiredError(ClusterError):
    """What is asked for is too old to be continued (HTTP 410): list again."""

    reason = "UNAVAILABLE"
    transient = True


class ClusterInvalidError(ClusterError):
    """The API server, or an admission webhook of the cluster, refuses the object."""

    reason = "CLUSTER_REFUSED"


class ClusterBusyError(ClusterError):
    """Not now. Of an eviction: a PodDisruptionBudget forbids it, and `cause` says which.

    Attributes:
        retry_after_seconds: when the API server says that another try makes sense; None: unsaid.
    """

    reason = "CLUSTER_BUSY"
    transient = True

    def __init__(self, doing: str, cause: str, retry_after_seconds: float | None) -> None:
        super().__init__(doing, cause)
        self.retry_after_seconds = retry_after_seconds


class ClusterUnavailableError(ClusterError):
    """The API server does not answer, not in time, or not in its own language.

    Attributes:
        sent: whether a change may have been made nevertheless: read before trying again.
    """

    reason = "UNAVAILABLE"
    transient = True

    def __init__(self, doing: str, cause: str, *, sent: bool = False) -> None:
        super().__init__(doing, cause)
        self.sent = sent

    @property
    def next_step(self) -> str:
        """Where to look."""
        return "; see whether the API server is up and reachable from the controller"
