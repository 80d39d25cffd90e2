"""Labelled videos: where they are, how they are listed, and which of their frames are read.

This module imports no torch: recipes are read wherever the command line starts.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from smile_synth.params import NoEffect, StrictParams

LayoutName = Literal["auto", "folders", "list", "ucf101", "hmdb51", "ssv2", "kinetics"]
DecoderName = Literal["pyav", "torchcodec", "opencv"]
SamplingName = Literal["dense", "uniform"]
OnError = Literal["stop", "skip"]


class VideosParams(StrictParams):
    """Labelled videos, and how they are read.

    The folder of the videos is given on the command line; the names here are relative to it.
    """

    NO_EFFECT = (
        NoEffect(
            ("split",),
            when=lambda videos: videos.layout not in ("auto", "ucf101", "hmdb51"),
            why="on layout '{layout}'",
        ),
        NoEffect(
            ("class_names",), when=lambda videos: videos.layout not in ("auto", "list"), why="on layout '{layout}'"
        ),
        NoEffect(
            ("validation_share",),
            when=lambda videos: videos.layout not in ("auto", "folders"),
            why="on layout '{layout}'",
        ),
        NoEffect(("stride",), when=lambda videos: videos.sampling != "dense", why="on {sampling} sampling"),
    )

    layout: LayoutName = Field(
        "auto",
        description="how videos are listed: class 'folders', a 'list' of 'path label' lines as VideoMAE writes them, "
        "or the official files of UCF101, HMDB51, Something-Something v2 and Kinetics; 'auto' looks what is there",
    )
    train: str = Field("", description="list or folder of the training part; empty: the usual name of the layout")
    validation: str = Field("", description="the same for the validation part")
    test: str = Field("", description="the same for the test part; empty and not there: the validation part")
    root: str = Field("", description="folder that the video files are in; empty: the whole folder is searched")
    split: int = Field(1, ge=1, le=3, description="which of the three official splits of UCF101 and HMDB51")
    class_names: str = Field("", description="text file with the name of each numbered class, one a line")
    validation_share: float = Field(
        0,
        ge=0,
        lt=1,
        description="share of each class's videos to hold out where class folders have no validation part of their own",
    )
    decoder: DecoderName = Field("pyav", description="what decodes: PyAV, TorchCodec or OpenCV")
    on_error: OnError = Field(
        "stop", description="stop at a missing or broken video, or leave it out and say at the end how many were"
    )
    sampling: SamplingName = Field(
        "dense", description="'dense': every stride-th frame from somewhere; 'uniform': one of each of T equal parts"
    )
    frames: int = Field(16, ge=1, le=1024, description="frames of a clip, T")
    stride: int = Field(4, ge=1, le=256, description="frames from one sampled frame to the next")
    short_side: int = Field(256, ge=8, le=2048, description="short side to which frames are scaled, in pixels")
    segments: int = Field(5, ge=1, le=64, description="clips in time that a video is tested on")
    crops: Literal[1, 3] = Field(3, description="squares of each that it is tested on, along the long side")
