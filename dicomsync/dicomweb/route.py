"""How a server is reached: certificates, our own certificate, a proxy. All from the config.

Nothing is taken from the environment: no proxy, no certificate store, no file for session keys.
"""

from __future__ import annotations

import base64
import ssl
from typing import Final
from urllib.parse import quote, urlsplit

import certifi

from ..errors import ArchiveProblem, SecretProblem, UsageProblem
from .network import Network, Proxy, check_proxy
from .secrets import SecretReader
from .transport import ProxyRoute, Transport

_NOTHING: Final = "nothing was sent"


def transport_to(
    url: str, network: Network, keepalive_seconds: float, *, shows_certificate: bool = False
) -> Transport:
    """Make the transport to the server at `url`; raises ArchiveProblem, SecretProblem, UsageProblem."""
    context = None
    if urlsplit(url).scheme == "https":
        context = tls_context(network, shows_certificate=shows_certificate)
    return Transport(context, keepalive_seconds, proxy_route(network))


def tls_context(network: Network, *, shows_certificate: bool = False) -> ssl.SSLContext:
    """Make a TLS context that checks certificates, always, and speaks TLS 1.2 or later.

    Raises ArchiveProblem for a file that cannot be used, SecretProblem for a key that cannot be opened.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks names and certificates; reads no environment
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    context.load_verify_locations(cafile=certifi.where())
    if network.ca_file is not None:
        try:
            context.load_verify_locations(cafile=network.ca_file)
        except OSError:  # ssl.SSLError among them
            raise ArchiveProblem(
                f"the certificates of ca_file cannot be read; {_NOTHING}",
                hint="It is one file of certificates in PEM form.",
            ) from None
    if shows_certificate and network.client_certificate is not None:
        _load_certificate(context, network.client_certificate, network)
    return context


def _load_certificate(context: ssl.SSLContext, certificate: str, network: Network) -> None:
    secret = network.client_key_password
    password = "" if secret is None else SecretReader(secret, "password of the client key").read()
    try:  # without a password of ours OpenSSL would ask at the terminal, and a daemon would wait for ever
        context.load_cert_chain(certificate, network.client_key, password=lambda: password)
    except OSError:
        raise SecretProblem(
            f"no credential: the client certificate or its key cannot be used; {_NOTHING}",
            hint="client_certificate and client_key are PEM files that belong together, readable to this"
            " user; a key with a password needs client_key_password_from.",
        ) from None


def proxy_route(network: Network) -> ProxyRoute | None:
    """Say how to go through the proxy, None if there is none; raises SecretProblem, UsageProblem."""
    proxy = network.proxy
    if proxy is None:
        return None
    problem = check_proxy(proxy.url)
    if problem:
        raise UsageProblem(f"the proxy cannot be used: {problem}; {_NOTHING}")
    route = ProxyRoute(proxy.url)
    if urlsplit(proxy.url).scheme == "https":
        route.ssl_context = tls_context(network)
    if proxy.username:
        pair = f"{proxy.username}:{_password(proxy)}".encode()
        route.authorization = b"Basic " + base64.b64encode(pair)
    return route


def proxy_url(proxy: Proxy) -> str:
    """Say the proxy's URL with its credential in it, as other libraries want it: a secret."""
    if not proxy.username:
        return proxy.url
    scheme, rest = proxy.url.split("://", 1)
    return f"{scheme}://{quote(proxy.username, safe='')}:{quote(_password(proxy), safe='')}@{rest}"


def _password(proxy: Proxy) -> str:
    return "" if proxy.password is None else SecretReader(proxy.password, "password of the proxy").read()
