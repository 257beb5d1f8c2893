"""Asks a service of the mesh by mTLS, with this process's own SVID and without a sidecar.

usage: client.py SPIFFE-ID https://IP:PORT/PATH

It prints the status and the body of the answer. $SPIFFE_ENDPOINT_SOCKET names the Workload API; $TOKEN is a user's token, if there is one.
"""

import os
import sys
from urllib.parse import urlsplit

from spiffe import SpiffeId, WorkloadApiClient

import mtls


def ask(server, url, token=None):
    """The status and the body that the server, and nobody else, answers."""
    target = urlsplit(url)
    if target.scheme != "https":
        raise ValueError(f"{url}: without https there is no identity")
    workload_api = WorkloadApiClient()
    try:
        own = workload_api.fetch_x509_context(timeout=10)
    finally:
        workload_api.close()
    connection = mtls.Connection(target.netloc, own, server, timeout=10)
    try:
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        return response.status, response.read(1 << 20).decode()
    finally:
        connection.close()


def main(argv):
    if len(argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        status, body = ask(SpiffeId(argv[1]), argv[2], os.environ.get("TOKEN"))
    except Exception as e:  # whatever is wrong, nothing was sent to anybody else
        print(f"client.py: {type(e).__name__}: {e}", file=sys.stderr)
        return 1
    print(status, body.strip())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
