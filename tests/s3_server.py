"""An S3 server of this process (moto's, over real HTTP), which can count requests, break connections in the middle of an upload, and tell who sends what."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

Fault = Callable[[str, str], bool]
"""(method, path) -> whether to break this request off, its body half read."""


class S3Server:
    """Listens at `url`. `requests` are the (method, path) so far; `fault` decides which are broken off."""

    def __init__(self) -> None:
        self.app = DomainDispatcherApplication(create_backend_app)
        self.requests: list[tuple[str, str]] = []
        self.fault: Fault = lambda method, path: False
        self.lock = threading.Lock()
        self.server = make_server("127.0.0.1", 0, self, threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.environment = {"AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
        """What a process needs to find it."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        with self.lock:  # moto looks whether a key is there and then writes it; S3 does both in one step
            self.requests.append((method, path))
            if self.fault(method, path):
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0) // 2)
                raise ConnectionAbortedError  # werkzeug closes the connection without an answer
            return list(self.app(environ, start_response))

    def written(self, folder: str) -> Counter[str]:
        """How often each key below `folder` was written."""
        return Counter(path for method, path in self.requests if method == "PUT" and f"/{folder}/" in path)


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A server with the empty bucket `bucket`."""
    import boto3

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = S3Server()
    thread = threading.Thread(target=server.server.serve_forever, daemon=True)
    thread.start()
    try:
        client = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        for found in client.list_buckets()["Buckets"]:  # moto keeps what it has for as long as the process lives
            for key in client.list_objects_v2(Bucket=found["Name"]).get("Contents", []):
                client.delete_object(Bucket=found["Name"], Key=key["Key"])
            client.delete_bucket(Bucket=found["Name"])
        client.create_bucket(Bucket="bucket")
        yield server
    finally:
        server.server.shutdown()
        thread.join()
