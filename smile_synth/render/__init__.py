"""Rendering: scene in; frames, boxes and motion out."""

from smile_synth.render.motion import motion_shape
from smile_synth.render.renderer import Clip, render, render_into

__all__ = ["Clip", "motion_shape", "render", "render_into"]
