"""What a webhook's replicas share: made, renewed in time, and read whatever stands there."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch_controller.injection import certificates
from memwatch_controller.injection.certificates import Kept, is_due, renewed

NAMES = ("memwatch-webhook.memwatch.svc", "memwatch-webhook.memwatch.svc.cluster.local")
NOW = datetime(2026, 11, 22, tzinfo=UTC)
NOTHING = Kept.of_secret({})
FIRST = renewed(NOTHING, NAMES, NOW)


def in_bundle(kept):
    """The authorities of a bundle."""
    return x509.load_pem_x509_certificates(kept.bundle)


def test_made_of_nothing():
    """An empty secret gets an authority and a leaf of it, for all names."""
    (authority,) = in_bundle(FIRST)
    assert FIRST.authority.certificate == FIRST.bundle
    leaf = x509.load_pem_x509_certificate(FIRST.leaf.certificate)
    leaf.verify_directly_issued_by(authority)
    assert not is_due(FIRST.leaf.certificate, FIRST.bundle, NAMES, NOW)


def test_kept_in_a_secret():
    """What a secret's data holds is read back as it was, and nothing is due."""
    again = Kept.of_secret(FIRST.secret_data())
    assert again == FIRST
    assert renewed(again, NAMES, NOW) is again


@pytest.mark.parametrize(
    ("days", "leaf", "authority"),
    [
        (0, True, True),
        (59, True, True),
        (61, False, True),
        (3284, False, True),
        (3286, False, False),
    ],
)
def test_renewed_in_time(days, leaf, authority):
    """A leaf is renewed with a third of its life left, an authority with a year of its own."""
    later = renewed(FIRST, NAMES, NOW + timedelta(days=days))
    assert (later.leaf == FIRST.leaf, later.authority == FIRST.authority) == (leaf, authority)


def test_old_authority_stays_trusted():
    """A new authority comes first in the bundle; the one before it stays until it has ended."""
    after = renewed(FIRST, NAMES, NOW + timedelta(days=3286))
    assert in_bundle(after)[1:] == in_bundle(FIRST)
    assert in_bundle(after)[0] == x509.load_pem_x509_certificate(after.authority.certificate)
    much_later = renewed(after, NAMES, NOW + timedelta(days=2 * 3286))
    assert len(in_bundle(much_later)) == 2  # the first one has ended


def test_bundle_is_bounded():
    """However often the authority's key is lost, a bundle holds a few authorities."""
    kept = FIRST
    for _ in range(6):
        kept = renewed(Kept.of_secret({**kept.secret_data(), "ca.key": ""}), NAMES, NOW)
    assert len(in_bundle(kept)) == certificates.MAX_BUNDLE


def test_other_service():
    """A leaf for another service's name is replaced, by the same authority."""
    moved = renewed(FIRST, ("other.memwatch.svc",), NOW)
    assert (moved.authority, moved.leaf == FIRST.leaf) == (FIRST.authority, False)


@pytest.mark.parametrize("key", ["ca.crt", "ca.key", "tls.crt", "tls.key"])
@pytest.mark.parametrize(
    "value", ["", "bm9uc2Vuc2U=", "no base64!", FIRST.secret_data()["tls.key"]]
)
def test_broken_secret(key, value):
    """A secret with a part missing, garbled or swapped is mended, and then left alone."""
    mended = renewed(Kept.of_secret({**FIRST.secret_data(), key: value}), NAMES, NOW)
    leaf = x509.load_pem_x509_certificate(mended.leaf.certificate)
    leaf.verify_directly_issued_by(in_bundle(mended)[0])
    assert renewed(mended, NAMES, NOW) is mended


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from(["ca.crt", "ca.key", "tls.crt", "tls.key"]), st.text()))
def test_any_secret(data):
    """Whatever stands in a secret, what comes of it is whole."""
    mended = renewed(Kept.of_secret(data), NAMES, NOW)
    assert not is_due(mended.leaf.certificate, mended.authority.certificate, NAMES, NOW)
