import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flows.ingest.errors import ForbiddenError, SourceUnreachable
from flows.ingest.safe_connection import Boundary, resolve
from flows.ingest.sample_web import SampleWeb
from flows.ingest.schema import Access, Request
from flows.ingest.web import Web


def fetched(web: Web, url: str) -> bytes:
    with closing(web), web.answer(Request(name="one", url=url)) as response:
        return response.read()


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.100.100.200", False),
        ("168.63.129.16", False),
        ("192.0.0.192", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::7f00:1", False),
        ("fe80::1", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_only_public_addresses_are_connected_to(address: str, is_public: bool) -> None:
    assert Boundary(("example.org",)).allows_address(address) == is_public


def test_a_network_that_the_configuration_names_is_allowed_and_no_other() -> None:
    boundary = Boundary(("example.org",), ("10.0.0.0/8", "fd00::/8"))
    assert boundary.allows_address("10.1.2.3")
    assert boundary.allows_address("::ffff:10.1.2.3")
    assert boundary.allows_address("fd00::5")
    assert not boundary.allows_address("192.168.1.1")
    assert not boundary.allows_address("127.0.0.1")


@pytest.mark.parametrize(
    ("host", "pattern", "fits"),
    [
        ("example.org", "example.org", True),
        ("EXAMPLE.org.", "example.org", True),
        ("www.example.org", "example.org", False),
        ("www.example.org", "*.example.org", True),
        ("example.org", "*.example.org", False),
        ("badexample.org", "*.example.org", False),
        ("example.org.evil.test", "example.org", False),
    ],
)
def test_hosts_are_those_that_are_named(host: str, pattern: str, fits: bool) -> None:
    boundary = Boundary((pattern,))
    if fits:
        boundary.require_host(host, "http://x/")
    else:
        with pytest.raises(ForbiddenError, match="not among those that the configuration allows"):
            boundary.require_host(host, "http://x/")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "localhost", "[::1]"])
def test_no_spelling_of_a_private_address_is_connected_to(sample: SampleWeb, host: str) -> None:
    web = Web(Access(hosts=("*.example.org",)), boundary=Boundary((host.strip("[]"),)))
    with pytest.raises(ForbiddenError, match="private, link-local or reserved"):
        fetched(web, f"http://{host}:{sample.server_port}/files/branches.csv")
    assert not sample.log


def test_a_name_is_looked_up_once_and_that_address_is_connected_to(sample: SampleWeb, access: Access) -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    rebinding = Boundary(("rebind.example.org",), ("127.0.0.0/8",), lambda _host, _port: next(answers))
    with closing(Web(access, boundary=rebinding)) as web:
        url = f"http://rebind.example.org:{sample.server_port}/files/branches.csv"
        for _ in range(2):
            with web.answer(Request(name="one", url=url)) as response:
                assert response.read().startswith(b"id,name")
        assert sample.asked("/files/branches.csv") == 2
    with closing(Web(access, boundary=rebinding)) as web, pytest.raises(ForbiddenError, match=r"10\.0\.0\.1"):
        fetched(web, url)


def test_of_several_addresses_only_permitted_ones_are_tried(sample: SampleWeb, access: Access) -> None:
    boundary = Boundary(
        ("many.example.org",), ("127.0.0.0/8",), lambda _host, _port: ["10.0.0.1", "127.0.0.1"]
    )
    url = f"http://many.example.org:{sample.server_port}/files/branches.csv"
    assert fetched(Web(access, boundary=boundary), url).startswith(b"id,name")


def test_a_host_without_an_address_may_have_one_later(access: Access) -> None:
    with pytest.raises(SourceUnreachable, match="has no address"):
        fetched(Web(Access(hosts=("no-such-host.invalid",))), "http://no-such-host.invalid/")


def test_proxies_and_logins_of_the_machine_are_not_used(
    sample: SampleWeb, access: Access, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password something\n")
    for name, value in {"HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    assert fetched(Web(access), f"{sample.url}/files/branches.csv").startswith(b"id,name")
    assert "authorization" not in sample.log[0][1]


@pytest.fixture
def https(sample: SampleWeb, tmp_path: Path) -> Iterator[tuple[str, ssl.SSLContext]]:
    """The sample web by https as `localhost`, and whom to trust for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with SampleWeb() as server:
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(pem)
        server.socket = serving.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"https://localhost:{server.server_port}", ssl.create_default_context(cafile=pem)
        server.shutdown()


def test_https_is_verified(https: tuple[str, ssl.SSLContext], access: Access) -> None:
    url, trusting = https
    assert fetched(Web(access, certificates=trusting), f"{url}/files/branches.csv").startswith(b"id,name")
    with pytest.raises(SourceUnreachable, match=r"(?i)certificate verify failed"):
        fetched(Web(access), f"{url}/files/branches.csv")
    other = url.replace("localhost", "127.0.0.1")
    with pytest.raises(SourceUnreachable, match=r"(?i)certificate verify failed"):
        fetched(Web(access, certificates=trusting), f"{other}/files/branches.csv")


def test_the_system_is_asked_for_addresses() -> None:
    assert "127.0.0.1" in resolve("localhost", 80)
