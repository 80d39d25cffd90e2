"""Rendering: scene in; frames, boxes and motion out."""

from smile_synth.machine.called_package import make_callable
from smile_synth.render.motion import motion_shape
from smile_synth.render.renderer import Clip, render, render_into
from smile_synth.render.truth import Tracks, Truth, tracks, truth

__all__ = ["Clip", "Tracks", "Truth", "motion_shape", "render", "render_into", "tracks", "truth"]

make_callable(__name__)
