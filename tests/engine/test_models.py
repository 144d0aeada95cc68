"""The bundled files are the manifest's, and are loaded once."""

from gpu_tasks.contract.manifest import manifest
from gpu_tasks.draft.models import face_models, topology
from gpu_tasks.faces.mesh import JAW, OVAL


def test_the_networks_are_loaded_once_per_process() -> None:
    assert face_models(1) is face_models(1)


def test_two_clips_do_not_share_a_tracker() -> None:
    assert face_models(1).new_tracker() is not face_models(1).new_tracker()


def test_every_model_the_engine_loads_is_bundled_and_permissive() -> None:
    entries = [manifest().models[name] for name in ("face_detection_short_range", "face_mesh_468")]

    assert all(entry.bundled and entry.commercial_use for entry in entries)


def test_the_topology_is_one_sheet_over_all_points_with_the_jaw_on_its_rim() -> None:
    triangles = topology().triangles

    assert set(triangles.ravel().tolist()) == set(range(468))
    edges: dict[tuple[int, int], int] = {}
    for corners in triangles.tolist():
        for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
            edge = (min(a, b), max(a, b))
            edges[edge] = edges.get(edge, 0) + 1
    assert max(edges.values()) == 2
    rim = {point for edge, count in edges.items() if count == 1 for point in edge}
    assert set(OVAL) <= rim
    assert set(JAW) <= set(OVAL)
