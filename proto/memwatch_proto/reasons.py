"""What each reason means and what to do next, as docs/reference/errors.md has it.

`memwatchctl explain` prints it; a test compares the page with this table.
"""

from collections.abc import Mapping

from memwatch_proto.status import Reason

EXPLANATIONS: Mapping[Reason, str] = {
    Reason.UNAUTHENTICATED: (
        "The bearer token is missing or wrong. Pass `--token-file` or set `MEMWATCH_TOKEN`; "
        "the controller's own token lies in `token` of its data directory. Agents and "
        "controller must have the same one."
    ),
    Reason.INVALID_ARGUMENT: (
        "A field of the request cannot be what it is: the sentence names the field and what "
        "is expected. Correct it; the same request will fail again."
    ),
    Reason.NOT_FOUND: (
        "No session, snapshot or report has this id, or no such path exists. List what there "
        "is: `memwatchctl sessions list`, `snapshots list`, `reports list`."
    ),
    Reason.CANCELLED: (
        "The caller ended the call, or somebody cancelled the session. Nothing is to be "
        "done; snapshots already taken stay."
    ),
    Reason.DEADLINE_EXCEEDED: (
        "Something took longer than it was given: a call's deadline, or a capture's timeout. "
        "Ask for a longer timeout; see the target's load and the snapshot's size."
    ),
    Reason.TARGET_NOT_FOUND: (
        "No known target matches. See `memwatchctl targets list --all`: perhaps its agent "
        "has not connected yet, or the process has another service name."
    ),
    Reason.TARGET_ENDED: (
        "The process has ended; a restarted one is another target. Choose its successor: "
        "`memwatchctl targets list`."
    ),
    Reason.TARGET_UNREACHABLE: (
        "The target is known, but its agent is not heard of, or cannot be dialled at the "
        "address it advertises. See whether the agent runs, and whether the controller "
        "reaches its `--advertise` address. Sessions try again by themselves for a while."
    ),
    Reason.AMBIGUOUS_TARGET: (
        "More than one target matches and one was meant; the sentence lists them. Name one "
        "by its id, or ask for a fleet."
    ),
    Reason.NO_WAY_IN: (
        "The process offers no way to be captured: no hook answers, and it does not let an "
        "inspector be opened. Load the hook (`NODE_OPTIONS=--require …`, `PYTHONPATH=…`) and "
        "restart the service, or remove `--disable-sigusr1`."
    ),
    Reason.HEADROOM: (
        "The snapshot would need more memory than there is under the nearest limit; metadata "
        "has `needed_bytes` and `available_bytes`. Raise the limit, capture when the service "
        "uses less, or pass `--force` and risk that it is killed."
    ),
    Reason.PAUSE_BUDGET: (
        "The predicted pause is longer than the caller, or the pod's liveness probe, allows. "
        "Allow a longer pause, load the hook (which forks and pauses for milliseconds), or "
        "pass `--force`."
    ),
    Reason.DEBUGGER_ATTACHED: (
        "Somebody is debugging the process. Close the debugger and try again; memwatch never "
        "disturbs it."
    ),
    Reason.INSPECTOR_NOT_TARGET: (
        "What listens on the inspector's port is not the target: another process of the pod "
        "has it. Start that one with another `--inspect-port`, or load the hook."
    ),
    Reason.INSPECTOR_EXPOSED: (
        "The process would open its inspector on an address that others reach "
        "(`--inspect=0.0.0.0` or the like). Restrict it to loopback, or load the hook."
    ),
    Reason.CAPTURE_IN_PROGRESS: (
        "Another capture of this pod runs; there is one at a time. Try again after the time "
        "that is named."
    ),
    Reason.CAPTURE_FAILED: (
        "Taking the snapshot broke off: the target closed the connection or answered "
        "something else. Nothing was kept. The sentence has the cause; try again, and see "
        "the target's own log."
    ),
    Reason.CANNOT_FORK: (
        "The snapshot was to be taken without a pause, and the process cannot fork a child "
        "for it: its hook is older or has no addon beside it, or the addon does not load "
        "there. The sentence says which. Build the addon (`make -C hook/node`), or allow a "
        "pause: `--pause auto`."
    ),
    Reason.FORK_FAILED: (
        "The snapshot was to be taken without a pause, and every forked child failed; the "
        "app served on. The sentence says why the last one did; try again, or allow a pause: "
        "`--pause auto`."
    ),
    Reason.SPOOL_FULL: (
        "The agent's spool has no room. Let the controller fetch what lies there, raise "
        "`--spool-quota`, or free the disk."
    ),
    Reason.STORE_FULL: (
        "The controller's store has no room; metadata has the bytes needed and free. Nothing "
        "partial was kept, and the agent keeps the snapshot in its spool until the session "
        "is deleted. Delete snapshots, or give `--blob-url` more room."
    ),
    Reason.DIGEST_MISMATCH: (
        "Bytes that came are not those that were announced: length, SHA-256, encoding, or no "
        "snapshot at all. Nothing was kept. Send it again; if an agent's snapshot fails so "
        "twice, see its disk."
    ),
    Reason.BLOB_LOST: (
        "A stored snapshot is gone from the store or was changed there. Restore it from a "
        "backup, or delete the snapshot."
    ),
    Reason.OFFSET_OUT_OF_RANGE: (
        "A download asked to start behind the end. Compare the size that is named with the "
        "partial file; start again from 0."
    ),
    Reason.SNAPSHOT_IN_USE: (
        "A session that is not finished needs the snapshot. Wait, or cancel the session: "
        "`memwatchctl sessions cancel ID`."
    ),
    Reason.TOO_MANY_SESSIONS: (
        "The limit of open sessions is reached. Wait for one to end, cancel one, or raise "
        "`--max-sessions`."
    ),
    Reason.SESSION_NOT_FINISHED: (
        "The session must be finished for this: to be deleted, or to have a report. Wait for "
        "its end or cancel it."
    ),
    Reason.ANALYSIS_FAILED: (
        "The snapshots could not be compared: one cannot be read, they need more memory or "
        "time than an analysis may use, or the worker process died twice. The snapshots are "
        "kept; the sentence has the cause."
    ),
    Reason.ANALYSIS_TOO_LARGE: (
        "Comparing the snapshots needs more memory than it may use, or than is free; "
        "metadata has `needed_bytes`, `allowed_bytes` and `free_bytes`. The snapshots are "
        "kept. Allow more (`--analysis-memory-mib`), run the controller on a larger machine, "
        "or download them and run `memwatchctl compare` there."
    ),
    Reason.PROFILE_KIND_UNSUPPORTED: (
        "The target's runtime, or this version of its agent or hook, does not record this "
        "kind; the sentence names those it has. Ask for one of them, or bring agent and hook "
        "to the controller's version."
    ),
    Reason.PROFILER_MISSING: (
        "What records this kind is not installed beside the service, and memwatch installs "
        "nothing there. Install what the sentence names (`pip install memray`) into the "
        "service's environment, restart it, or record `allocations` instead."
    ),
    Reason.PROFILE_LOST: (
        "The agent was restarted while it recorded, so the recording is gone; the service "
        "itself was put back as it was. Start the profile again."
    ),
    Reason.PROFILE_NOT_FINISHED: (
        "The profile must be finished for this: to be deleted, or to have a report. Wait for "
        "its end, or stop it: `memwatchctl profiles stop ID`."
    ),
    Reason.TOO_MANY_PROFILES: (
        "The limit of open profiles is reached. Wait for one to end, or stop one."
    ),
    Reason.SERVICE_BUSY: (
        "As many replicas of this service are being captured as may be at once "
        "(`--max-captures-per-service`; never all of them, so that the service goes on), and "
        "the capture waited half an hour for its turn, or hundreds wait already. Come again "
        "after the retry time."
    ),
    Reason.TOO_MANY_AGENTS: (
        "As many agents are connected as one controller takes. The agent tries again by "
        "itself; run another controller for some of them."
    ),
    Reason.REPLACED: (
        "Another stream of the same agent took this one's place: the agent connected again "
        "before the old connection was noticed to be dead. Nothing is to be done; if it goes "
        "on, two agents share one state directory."
    ),
    Reason.NO_CLUSTER: (
        "This needs a Kubernetes API server, and the controller knows none, or its "
        "kubeconfig or service account cannot be used; the sentence says which. Run the "
        "controller in the cluster, or start it with `--cluster` and a kubeconfig."
    ),
    Reason.CLUSTER_FORBIDDEN: (
        "The API server refuses the controller a right; metadata has `verb`, `resource` and "
        "`namespace`. Switch the mode that needs it on in the chart, or give the role that "
        "rule by hand; `memwatchctl doctor` lists every right that is missing."
    ),
    Reason.CLUSTER_NOT_FOUND: (
        "The cluster has no such pod, workload or other object. See the name and the "
        "namespace (`-n`): `kubectl get pods -n NAMESPACE`."
    ),
    Reason.CLUSTER_CONFLICT: (
        "Somebody else changed or made the object in the same moment. Nothing was "
        "overwritten; try again."
    ),
    Reason.CLUSTER_REFUSED: (
        "The API server, or an admission policy of the cluster, does not take the change; "
        "the sentence has its words. Correct what they name: a policy of the namespace often "
        "is the cause."
    ),
    Reason.CLUSTER_BUSY: (
        "The API server is busy, or a disruption budget does not allow a pod to go now. Come "
        "again later, or give the service another replica."
    ),
    Reason.NO_AGENT: (
        "The cluster has these pods, and no agent sees a process in any of them; the "
        "sentence names some. Annotate the workload's pod template with "
        '`memwatch.dev/inject: "true"` and roll it out, or put an agent into one running '
        "pod: `memwatchctl attach POD`."
    ),
    Reason.CANNOT_ATTACH: (
        "No agent can be put into this pod: it does not run, has no such container, its "
        "kubelet cannot start the agent's image, or the agent sees no process of the service "
        "there. The sentence has the cause, such as the user to run as (`--user`), or a "
        "Python service without the hook."
    ),
    Reason.ISOLATION_REFUSED: (
        "The pod cannot leave its service without being missed: the sentence has the numbers "
        "(replicas, disruption budget, `maxUnavailable`), or names what lacks (a readiness "
        "gate, an owner that starts a replacement). Nothing was changed, or all of it was "
        "undone. See docs/howto/isolation.md."
    ),
    Reason.UNAVAILABLE: (
        "The program does not answer, is stopping, or its database or store does not. Try "
        "again; see its `/readyz` and log."
    ),
    Reason.INTERNAL: (
        "A fault of memwatch. The log of the program has the whole of it; please report it."
    ),
}
