"""A store that speaks S3, on this machine, and what tests do with its objects."""

from __future__ import annotations

import contextlib
import logging
import os

SECRET = "a-secret-that-nobody-may-print"
_HIDDEN = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3")


@contextlib.contextmanager
def s3_server(home):
    """Run a server; the environment leads this process and those that it starts to it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server.start()
    host, port = server.get_host_and_port()
    set_to = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "AKIA-of-a-test",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(home / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "none"),
    }
    before = {name: os.environ.get(name) for name in (*set_to, *_HIDDEN)}
    for name in _HIDDEN:
        os.environ.pop(name, None)
    os.environ.update(set_to)
    try:
        yield
    finally:
        server.stop()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def system_of(address):
    """Return the file system of an address, and the path in it; nothing that was listed is kept."""
    import fsspec

    return fsspec.core.url_to_fs(address, use_listings_cache=False)


def put(address, content):
    system, path = system_of(address)
    system.pipe_file(path, content)


def remove(address):
    system, path = system_of(address)
    system.rm_file(path)


def upload(folder, address):
    """Put the files of a folder into a store, without those below it."""
    for path in sorted(folder.iterdir()):
        if path.is_file():
            put(f"{address}/{path.name}", path.read_bytes())


def names(address, suffix=""):
    """Return the names of the objects below an address, from there on."""
    system, path = system_of(address)
    return [name.split(f"{path}/", 1)[1] for name in system.find(path) if name.endswith(suffix)]


def objects(address, suffix=""):
    """Return the objects below an address by their names, but those that go away meanwhile."""
    found = {}
    for name in names(address, suffix):
        system, path = system_of(f"{address}/{name}")
        with contextlib.suppress(FileNotFoundError):
            found[name] = system.cat_file(path)
    return found
