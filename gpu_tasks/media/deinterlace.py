"""Whole frames out of two fields each, by FFmpeg's motion-adaptive filter."""

from collections.abc import Iterator

import av
from av.error import BlockingIOError as NotYetError
from av.error import EOFError as EndError
from av.filter import Graph


def deinterlaced(frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Yield one whole frame per interlaced frame, progressive ones untouched; times stay."""
    graph: Graph | None = None
    for frame in frames:
        if graph is None:
            if not frame.interlaced_frame:
                yield frame
                continue
            graph = _graph(frame)
        graph.vpush(frame)
        yield from _ready(graph)
    if graph is not None:
        # The filter looks one frame ahead: the last one comes when it is told that there are no more.
        graph.vpush(None)
        yield from _ready(graph)


def _graph(frame: av.VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    weave = graph.add("bwdif", mode="send_frame", deint="interlaced")
    sink = graph.add("buffersink")
    source.link_to(weave)
    weave.link_to(sink)
    graph.configure()
    return graph


def _ready(graph: Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (NotYetError, EndError):
            return
