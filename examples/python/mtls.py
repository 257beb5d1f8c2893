"""HTTP over mTLS with SPIFFE identities, on Python's own ssl and the SPIFFE library.

The name of a server is its SPIFFE ID: host names are not looked at. The ID is checked after the handshake and before the first byte of
the request. Python's ssl knows nothing of SPIFFE, so what X509-SVID asks of a leaf certificate is checked here.
"""

import http.client
import os
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from spiffe import SpiffeId


class NotTrusted(Exception):
    """The server is not who it must be."""


def context(own, server):
    """An SSLContext for one connection: shows the SVID of own, and takes servers of server's trust domain by that domain's bundle alone.

    own is the library's X509Context. Each connection gets a context of its own: nothing could be resumed, and the newest SVID is shown.
    """
    bundle = own.x509_bundle_set.get_bundle_for_trust_domain(server.trust_domain)
    if bundle is None or not bundle.x509_authorities:
        raise NotTrusted(f"no authority of {server.trust_domain} is known")
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.minimum_version = ssl.TLSVersion.TLSv1_3
    c.options |= ssl.OP_NO_TICKET
    c.check_hostname = False
    c.verify_mode = ssl.CERT_REQUIRED
    c.set_alpn_protocols(["http/1.1"])
    c.load_verify_locations(cadata=b"".join(a.public_bytes(serialization.Encoding.DER) for a in bundle.x509_authorities))
    svid = own.default_svid
    pem = svid.private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem += b"".join(cert.public_bytes(serialization.Encoding.PEM) for cert in svid.cert_chain)
    # ssl reads keys from files only. This one is memory: the key never lies on a disk.
    fd = os.memfd_create("svid", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as f:
            f.write(pem)
        c.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
    return c


def check(der, server):
    """Raises NotTrusted unless the leaf certificate is an X509-SVID of exactly the SpiffeId server (X509-SVID §2 to §4)."""
    cert = x509.load_der_x509_certificate(der)

    def extension(kind):
        try:
            return cert.extensions.get_extension_for_class(kind)
        except x509.ExtensionNotFound:
            raise NotTrusted(f"the certificate has no {kind.__name__}") from None

    uris = extension(x509.SubjectAlternativeName).value.get_values_for_type(x509.UniformResourceIdentifier)
    if uris != [str(server)]:
        raise NotTrusted(f"the server is {uris}, not {server}")
    if extension(x509.BasicConstraints).value.ca:
        raise NotTrusted("a CA certificate does not authenticate a server")
    usage = extension(x509.KeyUsage)
    if not usage.critical or not usage.value.digital_signature or usage.value.key_cert_sign or usage.value.crl_sign:
        raise NotTrusted("the key usage is not an SVID's")
    try:
        extended = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if ExtendedKeyUsageOID.SERVER_AUTH not in extended or ExtendedKeyUsageOID.CLIENT_AUTH not in extended:
        raise NotTrusted("the extended key usage is not an SVID's")


class Connection(http.client.HTTPSConnection):
    """An HTTPSConnection that sends nothing before the server has shown that it is server, a SpiffeId with a path."""

    def __init__(self, host, own, server, **kwargs):
        if not isinstance(server, SpiffeId) or not server.path:
            raise ValueError("name the server by its whole SPIFFE ID")
        super().__init__(host, context=context(own, server), **kwargs)
        self._server = server

    def connect(self):
        super().connect()
        try:
            check(self.sock.getpeercert(binary_form=True), self._server)
        except BaseException:
            self.close()
            raise
