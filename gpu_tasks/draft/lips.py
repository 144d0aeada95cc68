"""Lip-sync without a generative network: the frame's own lips, jaw and cheeks are moved, the mouth's inside is painted.

Every output pixel is fetched from where it lay in the frame, through a dense motion field in the mouth's axes.
The field is zero outside the lower face, so those pixels come back bit for bit, and no mask or seam is needed.
"""

import numpy as np

from gpu_tasks.draft.cavity import paint_cavity
from gpu_tasks.draft.lower_lip import with_lower_lip_seen
from gpu_tasks.draft.motion import fetch, motion_field, motion_window
from gpu_tasks.draft.mouth import mouth_columns
from gpu_tasks.draft.parting import with_parting_seen
from gpu_tasks.draft.seen import look
from gpu_tasks.faces.arrays import Floats, Frame


class DraftLips:
    """Makes a face say something else. Holds no state: frames may come in any order."""

    def apply(self, frame: Frame, mesh_468: Floats, opening: float, spread: float) -> Frame:
        """Bring the mouth of one face to a shape, whatever its shape was.

        Args:
            frame: (height, width, 3) uint8 BGR.
            mesh_468: (468, 3) float32, the face in frame pixels.
            opening: 0 closed, 1 as wide as speech opens it.
            spread: 0 rounded, 0.5 as in the frame, 1 drawn wide.

        Returns:
            A new frame of the same size. Only the lower face differs from the input.
        """
        seen_mesh = with_parting_seen(frame, with_lower_lip_seen(frame, mesh_468))
        columns = mouth_columns(seen_mesh, opening)
        window = motion_window(columns, frame.shape)
        out = frame.copy()
        if window.is_empty:
            return out
        moved = motion_field(columns, window, spread)
        view = window.of(out)
        lips = fetch(frame, moved)
        paint_cavity(lips, view, columns, moved, look(frame, columns))
        np.copyto(view, np.clip(np.rint(lips), 0, 255).astype(np.uint8))
        return out
