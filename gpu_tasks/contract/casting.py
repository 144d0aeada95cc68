"""Whose face goes on whom, as a request says it: what of it cannot be done, and which pictures it names."""

from collections.abc import Iterator, Sequence

from gpu_tasks.contract.options import FaceMapping, FaceSelection


def reference_keys(selection: FaceSelection, face_map: Sequence[FaceMapping]) -> tuple[str, ...]:
    """Return the keys of the pictures by which faces are chosen, each once."""
    keys = [entry.reference_key for entry in face_map if entry.reference_key]
    if not face_map and selection.mode == "reference" and selection.reference_key:
        keys.append(selection.reference_key)
    return tuple(dict.fromkeys(keys))


def uncastable(
    selection: FaceSelection, face_map: Sequence[FaceMapping], source_count: int
) -> Iterator[tuple[str, str]]:
    """Say what no engine can cast: a field, and why."""
    if selection.mode == "reference" and selection.reference_key is None and not face_map:
        yield "face_selection.reference_key", "reference needs a picture."
    if face_map and (selection.mode, selection.position) != (FaceSelection().mode, FaceSelection().position):
        yield "face_selection", "face_map says which faces are changed; leave mode and position out."
    if selection.mode != "reference" and selection.reference_key is not None:
        yield "face_selection.reference_key", "only mode=reference looks at it."
    if selection.mode == "reference" and not source_count:
        yield "face_selection.mode", "without sources there is no face to put on anybody."
    for place, entry in enumerate(face_map):
        if entry.source_index >= source_count:
            yield f"face_map.{place}.source_index", f"there are {source_count} sources."
        if entry.reference_key is None and entry.position is None:
            yield f"face_map.{place}.position", "say which face it is, by place or by a reference."
        if entry.reference_key is not None and entry.position is not None:
            yield f"face_map.{place}.position", "a reference says which face it is; leave the place out."


def needing_recognition(selection: FaceSelection, face_map: Sequence[FaceMapping]) -> Iterator[tuple[str, str]]:
    """Say what only an engine can cast that recognises faces: a field, and why."""
    why = "the draft engine does not recognise faces; ask for engine=neural, or choose by position."
    if selection.mode == "reference":
        yield "face_selection.mode", why
    for place, entry in enumerate(face_map):
        if entry.reference_key is not None:
            yield f"face_map.{place}.reference_key", why
