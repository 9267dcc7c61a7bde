"""The command ehrpose-web: a web page that finds people in photos and camera streams.

Example: ehrpose-web --model end2end.onnx --port 8000
"""

from __future__ import annotations

import argparse
import ipaddress
import socket
import sys

from ehrpose.cli import add_trust_pt2, run_cli


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
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: CUDA if available)")
    add_trust_pt2(parser)
    parser.add_argument(
        "--max-mb", type=float, default=20, help="maximum file size (default: %(default)s MB)"
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=50,
        help="maximum image size (default: %(default)s megapixels)",
    )
    return parser.parse_args(argv)


def serve(argv: list[str] | None = None) -> None:
    """Serve until Ctrl-C."""
    args = parse_args(argv)
    if args.max_mb <= 0 or args.max_megapixels <= 0:
        raise ValueError(
            f"limits must be positive, got {args.max_mb} MB and {args.max_megapixels} megapixels"
        )
    try:
        import uvicorn

        from ehrpose.web.app import Limits, create_app
        from ehrpose.web.model_pool import pool_of
    except ImportError as error:
        raise ValueError(
            f'{error.name} is not installed; in the project\'s folder: pip install -e ".[train,web]"'
        ) from error
    pool = pool_of(args.model, args.device, args.trust_pt2)
    local = is_local(args.host)
    limits = Limits(int(args.max_mb * 1e6), int(args.max_megapixels * 1e6))
    listening = listen(args.host, args.port)
    address = f"http://{'localhost' if local else args.host}:{listening.getsockname()[1]}"
    if not local:
        print("warning: other machines can reach this page, without password or encryption", file=sys.stderr)
    print(f"{address}  (Ctrl-C stops it; models: {', '.join(pool.names)})", flush=True)
    config = uvicorn.Config(create_app(pool, limits, local), log_level="warning", timeout_graceful_shutdown=2)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        pool.close()
        listening.close()


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
