"""The student: a masked-video transformer under VideoMAE's published key names."""

from smile_synth.model.patches import normalise, patchify
from smile_synth.model.student import Student, StudentShape, build_student

__all__ = ["Student", "StudentShape", "build_student", "normalise", "patchify"]
