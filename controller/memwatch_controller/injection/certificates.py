"""The webhook's own certificates, where no cert-manager makes them: an authority, and a leaf.

Pure but for randomness: times are arguments. The API server trusts the authority by the caBundle
of the webhook's configuration, so the authority outlives many leaves. Where it is renewed all the
same, the old one stays in the bundle until it ends: other replicas still show its leaves.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=90)

#: A leaf is renewed with a third of its life left: weeks to notice in that it fails.
RENEW_BEFORE = LEAF_LIFE / 3

#: An authority is renewed a year before it ends: leaves of it are then still good.
RENEW_AUTHORITY_BEFORE = timedelta(days=365)

#: Authorities in a bundle: the one that signs, and those before it that have not ended.
MAX_BUNDLE = 3

#: Clocks of a cluster differ by seconds, at worst by minutes.
_BACKDATED = timedelta(minutes=10)


#: As cert-manager names them, and the authority's key besides.
_SECRET_KEYS = ("ca.crt", "ca.key", "tls.crt", "tls.key")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True)
class Keeping:
    """Where the webhook keeps a certificate of its own making.

    Attributes:
        namespace: its own.
        secret: of that namespace, with authority and certificate.
        configuration: the MutatingWebhookConfiguration that is told the authority.
        service: its own, which the certificate is for.
    """

    namespace: str
    secret: str
    configuration: str
    service: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names by which the API server calls; the first is the one it checks."""
        name = f"{self.service}.{self.namespace}.svc"
        return (name, f"{name}.cluster.local")


@dataclass(frozen=True)
class Kept:
    """What the replicas of a webhook share, in a secret.

    Attributes:
        authority: signs leaves.
        bundle: PEM of all authorities that the API server is to trust; the first is `authority`.
        leaf: what the webhook shows.
    """

    authority: Pair
    bundle: bytes
    leaf: Pair

    @classmethod
    def of_secret(cls, data: Mapping[str, str]) -> "Kept":
        """What a secret's data holds; what is missing or no base64 is empty."""
        bundle, *rest = (_decoded(data.get(name, "")) for name in _SECRET_KEYS)
        key, certificate, leaf_key = rest
        return cls(Pair(next(_split(bundle), b""), key), bundle, Pair(certificate, leaf_key))

    def secret_data(self) -> dict[str, str]:
        """A secret's data that holds it."""
        values = (self.bundle, self.authority.key, self.leaf.certificate, self.leaf.key)
        encoded = (base64.b64encode(value).decode("ascii") for value in values)
        return dict(zip(_SECRET_KEYS, encoded, strict=True))


def renewed(kept: Kept, names: Sequence[str], now: datetime) -> Kept:
    """The same, where nothing is due; else with a new leaf, and a new authority if need be."""
    authority, bundle = kept.authority, kept.bundle
    if _is_authority_due(authority, now):
        authority = make_authority(now)
        older = [one for one in _split(bundle) if _ends(one) > now]
        bundle = b"".join([authority.certificate, *older][:MAX_BUNDLE])
    elif _matches(kept.leaf) and not is_due(
        kept.leaf.certificate, authority.certificate, names, now
    ):
        return kept
    return Kept(authority, bundle, make_leaf(authority, names, now))


def make_authority(now: datetime) -> Pair:
    """A new authority of our own, which signs leaves and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "memwatch webhook authority")])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    made = (
        _builder(name, name, key.public_key(), now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Pair(made.public_bytes(serialization.Encoding.PEM), _pem(key))


def make_leaf(authority: Pair, names: Sequence[str], now: datetime) -> Pair:
    """A certificate for a service's DNS names.

    Raises:
        ValueError: the authority's PEM cannot be read.
    """
    signer = serialization.load_pem_private_key(authority.key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    made = (
        _builder(subject, issuer.subject, key.public_key(), now, LEAF_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return Pair(made.public_bytes(serialization.Encoding.PEM), _pem(key))


def is_due(leaf: bytes, authority: bytes, names: Sequence[str], now: datetime) -> bool:
    """Whether a leaf has to be made anew: it ends soon, is for other names, or another's.

    What cannot be read is due.
    """
    try:
        made = x509.load_pem_x509_certificate(leaf)
        made.verify_directly_issued_by(x509.load_pem_x509_certificate(authority))
        told = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # noqa: BLE001 - whatever is wrong with it, a new one is right
        return True
    known = set(told.get_values_for_type(x509.DNSName))
    return made.not_valid_after_utc - now < RENEW_BEFORE or not set(names) <= known


def _is_authority_due(authority: Pair, now: datetime) -> bool:
    return not _matches(authority) or _ends(authority.certificate) - now < RENEW_AUTHORITY_BEFORE


def _matches(pair: Pair) -> bool:
    """Whether a certificate and a key can be read, and belong together."""
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        key = serialization.load_pem_private_key(pair.key, None)
    except (ValueError, TypeError):
        return False
    return (
        isinstance(key, ec.EllipticCurvePrivateKey) and certificate.public_key() == key.public_key()
    )


def _ends(certificate: bytes) -> datetime:
    """When a certificate ends; long ago where it cannot be read."""
    try:
        return x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _split(bundle: bytes) -> Iterator[bytes]:
    """The PEM certificates of a bundle, one by one."""
    end = b"-----END CERTIFICATE-----"
    for part in bundle.split(end)[:-1]:
        yield part.strip() + b"\n" + end + b"\n"


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + life)
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
