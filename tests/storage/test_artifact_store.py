import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from pydantic import BaseModel

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.storage import ArtifactStore, StorageError


class Note(BaseModel):
    author: str
    text: str = ""


def stored(store: ArtifactStore, key: str, body: bytes) -> Artifact:
    return store.put_stream(io.BytesIO(body), key, "video/mp4")


def test_a_version_that_was_overwritten_is_not_fetched(store: ArtifactStore, tmp_path: Path) -> None:
    key = "uploads/video/overwritten"
    stored(store, key, b"first")
    head = store.head(key)
    assert head is not None
    assert store.fetch_key(key, tmp_path / "first", max_bytes=10, etag=head.etag).size_bytes == 5
    stored(store, key, b"second")
    with pytest.raises(StorageError) as caught:
        store.fetch_key(key, tmp_path / "second", max_bytes=10, etag=head.etag)
    assert caught.value.fault.code is FaultCode.OBJECT_CHANGED
    assert not (tmp_path / "second").exists()


def test_a_file_comes_back_byte_for_byte_with_its_digest_and_type(store: ArtifactStore, tmp_path: Path) -> None:
    body = bytes(range(256)) * 20_000  # 5 MB: several chunks
    (tmp_path / "in").write_bytes(body)
    artifact = store.put_file(tmp_path / "in", "work/there-and-back.bin", "video/mp4")

    store.fetch(artifact, tmp_path / "out")

    assert (tmp_path / "out").read_bytes() == body
    assert artifact.sha256 == hashlib.sha256(body).hexdigest()
    head = store.head(artifact.key)
    assert head is not None
    assert (head.size_bytes, head.media_type) == (len(body), "video/mp4")
    assert head.metadata == {"sha256": artifact.sha256}


def test_a_key_without_a_digest_is_fetched_and_described(store: ArtifactStore, tmp_path: Path) -> None:
    artifact = stored(store, "uploads/video/described.mp4", b"some film")
    assert store.fetch_key(artifact.key, tmp_path / "film", max_bytes=100) == artifact


@pytest.mark.parametrize(
    "wrong", [{"sha256": hashlib.sha256(b"other film!").hexdigest()}, {"size_bytes": 3}], ids=["digest", "size"]
)
def test_an_object_that_is_not_what_was_promised_leaves_no_file(
    store: ArtifactStore, tmp_path: Path, wrong: dict[str, object]
) -> None:
    artifact = stored(store, "work/promised.bin", b"another one").model_copy(update=wrong)
    with pytest.raises(StorageError) as caught:
        store.fetch(artifact, tmp_path / "film")
    assert caught.value.fault.code is FaultCode.OBJECT_CORRUPT
    assert list(tmp_path.iterdir()) == []


def test_a_missing_object_is_named(store: ArtifactStore, tmp_path: Path) -> None:
    assert store.head("work/nothing") is None
    assert store.read_json("work/nothing", Note) is None
    with pytest.raises(StorageError, match="work/nothing") as caught:
        store.fetch_key("work/nothing", tmp_path / "film", max_bytes=10)
    assert caught.value.fault.code is FaultCode.OBJECT_MISSING
    with pytest.raises(StorageError) as caught:
        store.copy("work/nothing", "work/copy-of-nothing")
    assert caught.value.fault.code is FaultCode.OBJECT_MISSING


def test_an_object_over_the_limit_is_refused_before_its_bytes_are_read(store: ArtifactStore, tmp_path: Path) -> None:
    artifact = stored(store, "uploads/video/long.mp4", bytes(100))
    with pytest.raises(StorageError) as caught:
        store.fetch_key(artifact.key, tmp_path / "film", max_bytes=99)
    assert caught.value.fault.code is FaultCode.OBJECT_TOO_LARGE
    assert list(tmp_path.iterdir()) == []


def test_an_upload_over_the_limit_stores_nothing(store: ArtifactStore) -> None:
    with pytest.raises(StorageError) as caught:
        store.put_stream(io.BytesIO(bytes(11)), "uploads/video/over.mp4", "video/mp4", max_bytes=10)
    assert caught.value.fault.code is FaultCode.OBJECT_TOO_LARGE
    assert store.head("uploads/video/over.mp4") is None


def test_zero_bytes_are_refused_in_both_directions(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        stored(store, "uploads/audio/silence.wav", b"")
    assert caught.value.fault.code is FaultCode.OBJECT_EMPTY
    store._client.put_object(Bucket=store._bucket, Key="uploads/audio/empty.wav", Body=b"")
    with pytest.raises(StorageError) as caught:
        store.fetch_key("uploads/audio/empty.wav", tmp_path / "sound", max_bytes=10)
    assert caught.value.fault.code is FaultCode.OBJECT_EMPTY


def test_a_result_never_overwrites_another_but_may_meet_itself(store: ArtifactStore) -> None:
    first = store.put_stream(io.BytesIO(b"mine"), "outputs/film.mp4", "video/mp4", if_absent=True)
    assert store.put_stream(io.BytesIO(b"mine"), "outputs/film.mp4", "video/mp4", if_absent=True) == first
    with pytest.raises(StorageError) as caught:
        store.put_stream(io.BytesIO(b"yours"), "outputs/film.mp4", "video/mp4", if_absent=True)
    assert caught.value.fault.code is FaultCode.OUTPUT_EXISTS
    head = store.head("outputs/film.mp4")
    assert head is not None
    assert head.metadata["sha256"] == first.sha256


def test_of_sixteen_writers_of_one_key_exactly_one_wins(store: ArtifactStore) -> None:
    barrier = Barrier(16)

    def write(number: int) -> bool:
        barrier.wait(timeout=60)
        return store.put_json("work/race.json", Note(author=str(number)), if_absent=True)

    with ThreadPoolExecutor(16) as pool:
        won = [number for number, first in enumerate(pool.map(write, range(16))) if first]
    assert len(won) == 1
    assert store.read_json("work/race.json", Note) == Note(author=str(won[0]))


def test_a_writer_whose_answer_was_lost_knows_its_own_document(store: ArtifactStore) -> None:
    note = Note(author="me")
    assert store.put_json("work/own.json", note, if_absent=True)
    assert store.put_json("work/own.json", note, if_absent=True)
    assert not store.put_json("work/own.json", Note(author="you"), if_absent=True)


def test_a_document_is_replaced_only_in_the_version_that_was_read(store: ArtifactStore) -> None:
    store.put_json("work/versions.json", Note(author="a"), if_absent=False)
    read = store.read_tagged("work/versions.json", Note)
    assert read is not None
    assert store.replace_json("work/versions.json", Note(author="b"), etag=read[1])
    assert not store.replace_json("work/versions.json", Note(author="c"), etag=read[1])
    assert store.read_json("work/versions.json", Note) == Note(author="b")


def test_a_deleted_document_is_not_replaced(store: ArtifactStore) -> None:
    store.put_json("work/gone.json", Note(author="a"), if_absent=False)
    read = store.read_tagged("work/gone.json", Note)
    assert read is not None
    store.delete("work/gone.json")
    store.delete("work/gone.json")
    assert not store.replace_json("work/gone.json", Note(author="b"), etag=read[1])
    assert store.head("work/gone.json") is None


def test_a_document_of_another_kind_is_corrupt(store: ArtifactStore) -> None:
    stored(store, "work/kind.json", b'{"no": "note"}')
    with pytest.raises(StorageError, match="Note") as caught:
        store.read_json("work/kind.json", Note)
    assert caught.value.fault.code is FaultCode.OBJECT_CORRUPT


def test_a_copy_keeps_type_and_digest(store: ArtifactStore) -> None:
    artifact = stored(store, "work/original.mp4", b"film")
    store.copy(artifact.key, "outputs/copy.mp4")
    head = store.head("outputs/copy.mp4")
    assert head is not None
    assert (head.media_type, head.metadata["sha256"]) == ("video/mp4", artifact.sha256)


def test_keys_are_listed_by_prefix(store: ArtifactStore) -> None:
    for name in ("b", "a", "deep/c"):
        stored(store, f"work/listed/{name}", b"x")
    stored(store, "work/listed-not", b"x")
    assert list(store.keys("work/listed/")) == ["work/listed/a", "work/listed/b", "work/listed/deep/c"]
    assert list(store.keys("work/none/")) == []
