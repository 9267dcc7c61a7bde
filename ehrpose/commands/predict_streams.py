"""``ehrpose predict`` for streams and for several cameras: options, state and output."""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, List, Optional

from ehrpose.counted import counted
from ehrpose.inferencers.options import DrawOptions, OutputOptions, pick

if TYPE_CHECKING:
    from ehrpose.inferencers.streams import StreamResult
    from ehrpose.media.live import LiveSource, LiveSources, SourceSpec

# Time between two lines of counts, seconds.
_EACH_S = 1.0


def add_stream_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for streams."""
    streams = parser.add_argument_group("streams")
    streams.add_argument(
        "--sources", metavar="FILE", help="text file with a source on each line, NAME=ADDRESS"
    )
    streams.add_argument(
        "--out", metavar="FILE", help="write a line of JSON as each result comes; - is stdout"
    )
    streams.add_argument(
        "--stats", action="store_true", help="print frames, drops, fps and latency each second"
    )
    streams.add_argument(
        "--timeout", type=float, default=10.0, help="seconds without a picture until a stream is opened again"
    )
    streams.add_argument("--retries", type=int, help="attempts in a row to open a stream (default: no limit)")
    streams.add_argument(
        "--rtsp-transport",
        choices=["tcp", "udp"],
        default="tcp",
        help="how RTSP is sent (default: %(default)s)",
    )
    streams.add_argument(
        "--no-tls-verify",
        dest="tls_verify",
        action="store_false",
        help="accept any certificate of https, rtsps",
    )


def stream_words(words: List[str], sources: Optional[str]) -> List[str]:
    """Return the sources that a command line names if it is about streams; else nothing.

    Args:
        words: Its inputs.
        sources: Its text file of sources.

    Raises:
        FileNotFoundError, ValueError: The text file cannot be read.
    """
    from ehrpose.media.live.addresses import is_address, is_camera, read_sources

    if sources is not None:
        return [*words, *read_sources(sources)]
    cameras = [word for word in words if is_camera(word)]
    is_about_streams = any(is_address(word) or word.startswith("@") for word in words)
    return words if is_about_streams or len(cameras) > 1 else []


def run_streams(args: argparse.Namespace, specs: List[SourceSpec]) -> None:
    """Find people in streams until all have ended, or Ctrl-C.

    Args:
        args: Parsed options of ``ehrpose predict``.
        specs: The sources.

    Raises:
        ValueError: Options do not fit each other, streams or the model.
        SystemExit: With code 1 if a source failed; with 128 plus the signal's number after Ctrl-C, with the output so
            far kept.
        BrokenPipeError: Nobody reads stdout any more; the files are complete.
    """
    import numpy as np

    from ehrpose.inferencers.inferencer import PoseInferencer
    from ehrpose.inferencers.model_spec import ModelSpec
    from ehrpose.media.live import LiveSources
    from ehrpose.media.stopping import StopRequest

    draw, write = pick(DrawOptions, vars(args)), _output_options(args, specs)
    report = _Report(args.stats)
    sources = LiveSources(specs, _live_options(args), report.tell)
    model, weights = ModelSpec.parse(args.model, args.weights).files()
    inferencer = PoseInferencer(
        model, weights, args.device, args.backend, args.cfg_options, args.mode, args.flip_test,
        num_threads=args.num_threads, trust_pt2=args.trust_pt2,
    )  # fmt: skip
    # The first picture takes longer, as code is loaded and compiled: not one of the stream.
    inferencer.predictor.predict([np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)])
    broken: Optional[BrokenPipeError] = None
    with contextlib.ExitStack() as opened:
        opened.enter_context(inferencer)
        lines = opened.enter_context(_lines(args.out))
        stop = opened.enter_context(StopRequest())
        opened.enter_context(report.counting(sources))
        results = inferencer.watch(
            sources,
            args.batch_size,
            bbox_thr=args.bbox_thr,
            max_frames=args.max_frames,
            tracker={"smoothing": {}} if args.smooth else args.track,
            draw=draw,
            write=write,
        )
        try:
            for result in results:
                _write(lines, result)
                if stop:
                    break
        except BrokenPipeError as error:
            broken = error
        finally:
            results.close()
    report.end(sources, inferencer.written, to_stdout=args.out != "-")
    if broken is not None:
        raise broken
    if stop.signal is not None:
        raise SystemExit(128 + stop.signal)
    failed = [source.name for source in sources.sources if source.state[0] == "failed"]
    if failed:
        print(
            f"{counted(len(failed), 'source')} of {len(specs)} failed: {', '.join(failed)}", file=sys.stderr
        )
        raise SystemExit(1)


def _live_options(args: argparse.Namespace) -> Any:
    from ehrpose.inferencers.options import check_count, check_number
    from ehrpose.media.live import LiveOptions

    check_number("timeout", args.timeout, above=0)
    if args.retries is not None:
        check_count("retries", args.retries, 0)
    for name in ("skip", "fps", "gallery"):
        if getattr(args, name):
            raise ValueError(f"`{name}` is for photos and videos: expected none with streams")
    if args.smooth == "offline":
        raise ValueError('`smooth="offline"` is for recorded videos: expected `smooth` alone with streams')
    return LiveOptions(
        open_s=args.timeout, read_s=args.timeout, stall_s=min(LiveOptions.stall_s, args.timeout / 2),
        max_retries=args.retries, rtsp_transport=args.rtsp_transport, tls_verify=args.tls_verify,
    )  # fmt: skip


def _output_options(args: argparse.Namespace, specs: List[SourceSpec]) -> OutputOptions:
    """Return what to write and show: a window, as for a camera, where no output is asked for."""
    is_written = args.out or args.out_dir or args.out_file or args.pred_out_dir
    shows = args.show or not (is_written or args.no_window)
    if not (is_written or shows):
        raise ValueError(
            f"{', '.join(spec.name for spec in specs)} would be neither shown nor written: drop `no_window`, or "
            'add `out="-"` for lines of JSON'
        )
    if args.out and args.pred_format not in (None, "jsonl"):
        raise ValueError(
            f"`out` writes jsonl, got {args.pred_format!r}: give `pred_out_dir` for other formats"
        )
    values = {**vars(args), "out_dir": None, "vis_out_dir": args.out_dir, "show": shows}
    values["pred_out_dir"] = args.pred_out_dir or args.out_dir
    values["pred_format"] = args.pred_format or "json"
    return pick(OutputOptions, values)


def _lines(path: Optional[str]) -> Any:
    from ehrpose.results.lines import LineFile

    return contextlib.nullcontext() if path is None else LineFile(path)


def _write(lines: Any, result: StreamResult) -> None:
    if lines is not None:
        lines.write(result.to_dict())


class _Report:
    """Lines on stderr: a source's new state at once, and counts each second if wanted."""

    def __init__(self, counts: bool):
        self.counts = counts
        self._lock, self._done = threading.Lock(), threading.Event()

    def tell(self, source: LiveSource, state: str, reason: str) -> None:
        """Print the state of a source."""
        about = source.address if state == "connecting" else reason
        self._print(f"{source.name}: {state}" + (f" ({about})" if about else ""))

    @contextlib.contextmanager
    def counting(self, sources: LiveSources) -> Any:
        """Print the counts each second within the block."""
        if not self.counts:
            yield
            return
        thread = threading.Thread(target=self._count, args=(sources,), name="stats", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def _count(self, sources: LiveSources) -> None:
        due = time.monotonic() + _EACH_S
        while not self._done.wait(max(0.0, due - time.monotonic())):
            due += _EACH_S
            for source in (source for source in sources.sources if not source.is_over):
                self._print(f"{source.name}: {source.state[0]}, {source.stats.line(source.stats.fps)}")

    def end(self, sources: LiveSources, written: List[Any], to_stdout: bool) -> None:
        """Print the counts of each source, and what was written."""
        lines = [f"{source.name}: {source.stats.line(source.stats.mean_fps)}" for source in sources.sources]
        if written:
            lines[-1] += f" -> {', '.join(map(str, written))}"
        for line in lines:
            print(line, file=sys.stdout if to_stdout else sys.stderr)

    def _print(self, line: str) -> None:
        with self._lock, contextlib.suppress(OSError):
            print(line, file=sys.stderr, flush=True)
