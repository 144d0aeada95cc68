"""What a media file is, found by reading it: headers are claims."""

from pathlib import Path

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.media import AudioInfo, MediaInfo, VideoInfo
from gpu_tasks.media.audio import decoded_seconds
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.opening import audio_stream, open_media
from gpu_tasks.media.reader import VideoReader


def probe(path: Path) -> MediaInfo:
    """Look at a local file.

    The container is sniffed by content, frames are counted from packets, the frame rate is the exact one they lie on,
    the size is the displayed one, the length of the sound is that of its decoded samples.

    Raises:
        MediaError: OBJECT_EMPTY, MEDIA_UNSUPPORTED or MEDIA_UNREADABLE when the file is no sound media of its kind.
    """
    video = _video(path)
    with open_media(path) as container:
        name = container.format.name
    audio = sound_of(path)
    if video is None and audio is None:
        raise MediaError(FaultCode.MEDIA_UNSUPPORTED, "There is neither video nor sound in it.")
    return MediaInfo(container=name, size_bytes=path.stat().st_size, video=video, audio=audio)


def _video(path: Path) -> VideoInfo | None:
    try:
        with VideoReader(path) as reader:
            return reader.info
    except MediaError as error:
        if error.fault.code is FaultCode.NO_VIDEO_STREAM:
            return None
        raise


def sound_of(path: Path) -> AudioInfo | None:
    """Look at the track of a file that is listened to; None when it has no sound.

    Raises:
        MediaError: MEDIA_UNSUPPORTED or MEDIA_UNREADABLE when the sound cannot be decoded.
    """
    with open_media(path) as container:
        stream = audio_stream(container)
        if stream is None:
            return None
        seconds = decoded_seconds(container, stream)
        return AudioInfo(
            sample_rate=stream.codec_context.sample_rate,
            channels=stream.codec_context.layout.nb_channels,
            duration_seconds=float(seconds),
            codec=stream.codec_context.name,
        )
