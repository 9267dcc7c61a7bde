"""The command ehrpose-web: a web page that finds people in photos and camera streams.

Example: ehrpose-web --model end2end.onnx --port 8000
"""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import socket
import sys
from pathlib import Path

from ehrpose.cli import add_trust_pt2, run_cli

MIN_TOKEN = 16


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="ehrpose-web", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="[NAME=]MODEL",
        help="zoo model, CONFIG.py:CHECKPOINT or exported file; can be repeated (default: the zoo models)",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument(
        "--port", type=int, default=8000, help="port; 0 picks a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="host name under which browsers may open the page, besides this machine's own; can be repeated",
    )
    token = parser.add_mutually_exclusive_group()
    token.add_argument(
        "--token-env",
        metavar="VARIABLE",
        help="environment variable that contains a token; requests must send it",
    )
    token.add_argument("--token-file", metavar="FILE", help="file that contains the token")
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: CUDA if available)")
    add_trust_pt2(parser)
    parser.add_argument(
        "--max-mb", type=float, default=20, help="maximum file size (default: %(default)s MB)"
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=50,
        help="maximum image size; memory grows with it (default: %(default)s megapixels)",
    )
    parser.add_argument(
        "--photo-seconds",
        type=float,
        default=30,
        help="maximum time for one photo; then the model's process is replaced (default: %(default)s)",
    )
    parser.add_argument(
        "--queue", type=int, default=4, help="photos that may wait for a model (default: %(default)s)"
    )
    parser.add_argument(
        "--stream",
        action="append",
        default=[],
        metavar="[NAME=]ADDRESS",
        help="stream or camera whose people clients can follow; @FILE for a list of them; can be repeated",
    )
    parser.add_argument(
        "--static",
        metavar="DIR",
        help="serve nothing: write a page that runs the models in the browser to a new folder, for any file server",
    )
    parser.add_argument(
        "--ort-dir",
        metavar="FOLDER",
        help="for --static: files of the npm package onnxruntime-web (default: npm downloads them)",
    )
    return parser.parse_args(argv)


def serve(argv: list[str] | None = None) -> None:
    """Serve until Ctrl-C."""
    args = parse_args(argv)
    if args.static is not None:
        write_static(args)
        return
    if args.ort_dir is not None:
        raise ValueError(
            "`ort_dir` belongs to the page that `static` writes; without it, the server runs the models"
        )
    for name in ("max_mb", "max_megapixels", "photo_seconds"):
        if not 0 < getattr(args, name) < float("inf"):
            raise ValueError(f"`{name}` must be a positive number, got {getattr(args, name)}")
    if args.queue < 0:
        raise ValueError(f"`queue` must be 0 or more, got {args.queue}")
    token = read_token(args.token_env, args.token_file)
    try:
        import uvicorn

        from ehrpose.media.live import parse_sources
        from ehrpose.web.app import create_app
        from ehrpose.web.connections import RateLimit, limited_protocol
        from ehrpose.web.limits import Limits
        from ehrpose.web.model_pool import pool_of
        from ehrpose.web.stream_hub import StreamHub
    except ImportError as error:
        raise ValueError(
            f'{error.name} is not installed; in the project\'s folder: pip install -e ".[train,web]"'
        ) from error
    limits = Limits(
        int(args.max_mb * 1e6), int(args.max_megapixels * 1e6), photo_s=args.photo_seconds, queue=args.queue
    )
    specs = parse_sources(args.stream) if args.stream else []
    pool = pool_of(args.model, args.device, limits, args.trust_pt2)
    streams = StreamHub(specs, pool.opener(pool.names[0])) if specs else None
    local = is_local(args.host)
    hosts = allowed_hosts(args.host, args.allow_host)
    listening = listen(args.host, args.port)
    port = listening.getsockname()[1]
    if not local:
        print(opened(args.host, port, hosts, token is not None), file=sys.stderr)
    print(f"{address(args.host, port)}  (Ctrl-C stops it; models: {', '.join(pool.names)})", flush=True)
    config = uvicorn.Config(
        create_app(pool, limits, hosts, token, preload=True, streams=streams),
        http=limited_protocol(limits),
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=128,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=2,
    )
    set_up_log(RateLimit())
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        pool.close()
        listening.close()


def write_static(args: argparse.Namespace) -> None:
    """Write the page that needs no server."""
    if args.stream:
        raise ValueError("`stream` needs the server: it does not go with `static`")
    if not args.static:
        raise ValueError("`static` must be a folder, got an empty name")
    from ehrpose.web.static_page import write_page

    names = write_page(args.static, args.model, args.ort_dir)
    print(
        f"{args.static}  (models: {', '.join(names)}; to look at it: python -m http.server -d {args.static})"
    )


def set_up_log(rate_limit: logging.Filter) -> None:
    """Write the server's lines to stderr, with the time, and limit how often uvicorn and it repeat them."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s: %(message)s"))
    logger = logging.getLogger("ehrpose.web")
    logger.handlers, logger.propagate = [handler], False
    logger.addFilter(rate_limit)
    logging.getLogger("uvicorn.error").addFilter(rate_limit)


def read_token(variable: str | None, file: str | None) -> str | None:
    """Return the token that requests must send, None without one; not an argument, which other users could see.

    Args:
        variable: Environment variable that contains it; removed, so that the models' processes do not have it.
        file: File that contains it; white space around it is dropped.

    Raises:
        ValueError: It is missing, short, or has characters that a header cannot have.
        FileNotFoundError: The file is missing.
    """
    if variable is not None:
        source, token = f"the environment variable {variable}", os.environ.pop(variable, "").strip()
    elif file is not None:
        source, token = file, Path(file).read_text(encoding="utf-8", errors="replace").strip()
    else:
        return None
    if len(token) < MIN_TOKEN or not all("!" <= character <= "~" for character in token):
        raise ValueError(
            f"expected a token of at least {MIN_TOKEN} ASCII letters, digits or signs in {source}, got {len(token)} "
            "characters, or others; make one: python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    return token


def allowed_hosts(host: str, more: list[str]) -> list[str]:
    """Return the host names that are answered.

    Args:
        host: Address to listen on.
        more: Names that the user adds.

    Raises:
        ValueError: A name is one with a port, a path or a wildcard.
    """
    from ehrpose.web.guard import ANY_ADDRESS, LOCAL_HOSTS

    for name in more:
        if not name or set("/*@ ") & set(name) or (":" in name and not _is_address(name)):
            raise ValueError(f"`allow_host`: expected a host name without port, such as pi.lan, got {name!r}")
    names = [*LOCAL_HOSTS, *more]
    if not is_local(host):
        own = socket.gethostname().lower()
        names += [ANY_ADDRESS, own, f"{own.partition('.')[0]}.local"]
        if not _is_address(host):
            names.append(host)
    return list(dict.fromkeys(names))


def opened(host: str, port: int, hosts: list[str], has_token: bool) -> str:
    """Return what a server on ``host`` opens, and to whom, in three lines."""
    everywhere = host in ("0.0.0.0", "::", "")
    where = "all addresses of this machine" if everywhere else host
    names = ", ".join("any address" if name == "addresses" else name for name in hosts)
    who = "requests need the token" if has_token else "without a token, anyone there can use the models"
    return (
        f"warning: open to every machine that reaches port {port} on {where}; {who}\n"
        "warning: no encryption: others on the network can read photos"
        f"{' and the token' if has_token else ''}; put a proxy with TLS in front if that matters\n"
        f"host names answered: {names} (more with --allow-host)"
    )


def address(host: str, port: int) -> str:
    """Return the address to open in a browser."""
    name = "localhost" if host == "127.0.0.1" else host
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_local(host: str) -> bool:
    """Whether only this machine can reach a server that listens on ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        ValueError: The port is in use or not allowed, or the address is not one of this machine.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be 0 to 65535, got {port}")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(64)
    except OSError as error:
        raise ValueError(f"cannot listen on {host}:{port}: {error}; choose another with --port") from error
    return listening


def main() -> None:
    """Run the command."""
    run_cli(serve)


if __name__ == "__main__":
    main()
