"""`containers.py`: the shapes in which engines and kubelets name containers and pods."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_agent.containers import Container, container_of

ID = "4f2b" * 16
OTHER = "abcd" * 16
UID = "0b0e4b6c-7d7b-4c5a-9a52-0f7d2f1f8a11"
SYSTEMD_UID = UID.replace("-", "_")

SHAPES = {
    "docker v1": (f"4:memory:/docker/{ID}\n1:cpu:/docker/{ID}", Container(ID)),
    "docker v2 systemd": (f"0::/system.slice/docker-{ID}.scope", Container(ID)),
    "docker in docker": (f"4:memory:/docker/{OTHER}/docker/{ID}", Container(ID)),
    "containerd cgroupfs": (
        f"4:memory:/kubepods/burstable/pod{UID}/{ID}",
        Container(ID, UID),
    ),
    "containerd guaranteed": (f"0::/kubepods/pod{UID}/{ID}", Container(ID, UID)),
    "containerd systemd": (
        "0::/kubepods.slice/kubepods-besteffort.slice/"
        f"kubepods-besteffort-pod{SYSTEMD_UID}.slice/cri-containerd-{ID}.scope",
        Container(ID, UID),
    ),
    "containerd nested": (
        f"0::/system.slice/containerd.service/kubepods-burstable-pod{SYSTEMD_UID}.slice"
        f":cri-containerd:{ID}",
        Container(ID, UID),
    ),
    "cri-o": (
        f"0::/kubepods.slice/kubepods-pod{SYSTEMD_UID}.slice/crio-{ID}.scope/container",
        Container(ID, UID),
    ),
    "cri-o monitor": (
        f"0::/kubepods.slice/kubepods-pod{SYSTEMD_UID}.slice/crio-conmon-{ID}.scope",
        Container("", UID),
    ),
    "podman": (f"0::/machine.slice/libpod-{ID}.scope/container", Container(ID)),
    "podman monitor": (f"0::/machine.slice/libpod-conmon-{ID}.scope", Container()),
    "static pod": (
        f"0::/kubepods/burstable/pod{'ab' * 16}/{ID}",
        Container(ID, "ab" * 16),
    ),
    "fargate": (
        f"4:memory:/ecs/{'12' * 16}/{'12' * 16}-1234567890",
        Container(f"{'12' * 16}-1234567890"),
    ),
    "neighbour in a namespace": (f"0::/../{ID}", Container(ID)),
    "host": ("0::/user.slice/user-1000.slice/session-2.scope", Container()),
    "empty": ("", Container()),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_understood(shape):
    """Container id and pod uid come out of every engine's cgroup path."""
    text, expected = SHAPES[shape]

    assert container_of(text) == expected


def test_mounts_tell_what_a_cgroup_namespace_hides():
    """Where the path is only "/", the files that the engine mounts name container and pod."""
    mountinfo = (
        f"1 2 0:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/x rw\n"
        f"1 2 0:1 /var/lib/kubelet/pods/{UID}/etc-hosts /etc/hosts rw - ext4 /dev/x rw\n"
    )

    assert container_of("0::/", mountinfo) == Container(ID, UID)


def test_a_sandbox_is_no_container():
    """Containerd mounts files of the pod's sandbox, whose id is not the container's."""
    mountinfo = f"1 2 0:1 /io.containerd.grpc.v1.cri/sandboxes/{ID}/hostname /etc/hostname rw - x"

    assert container_of("0::/", mountinfo) == Container()


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_text_breaks_it(cgroup, mountinfo):
    """Whatever the files hold, there is an answer."""
    assert isinstance(container_of(cgroup, mountinfo), Container)
