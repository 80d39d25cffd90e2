"""Whole recipes, checkpoints, exports, images and videos, to be mutated and given to their readers."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
from fault_lab import Tally, command_line
from fault_trials import Bench, mutated_documents, mutated_files
from PIL import Image


class Seeds:
    """Whole files of every kind that is read, and what reads them.

    Args:
        bench: its folder gets the files.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._folder = bench.folder / "seeds"
        self._folder.mkdir()

    def recipes(self, count: int) -> Tally:
        """Mutate bundled recipes and check them."""
        from smile_synth.recipe.recipe import bundled_recipes

        files = [*bundled_recipes().values(), self._bench.recipe]
        fault = "recipe: changed bytes, words and lines"
        return mutated_documents(
            self._bench, count, fault, files, lambda file: ["recipes", "show", str(file), "--resolved"]
        )

    def checkpoints(self, count: int) -> Tally:
        """Mutate the bytes of a checkpoint and export it."""
        seed = self._folder / "latest.pt"
        shutil.copyfile(self._bench.trained / "checkpoints" / "latest.pt", seed)

        def work(file: Path) -> Callable[[], object]:
            folder = file.parent / "run"
            shutil.copytree(self._bench.trained, folder)
            for checkpoint in (folder / "checkpoints").glob("*.pt"):
                checkpoint.unlink()
            shutil.copyfile(file, folder / "checkpoints" / "latest.pt")
            return self._bench.pretrain(folder, "--resume")

        return mutated_files(self._bench, count, "checkpoint: flipped bits, cut, emptied", [seed], work)

    def exports(self, count: int) -> Tally:
        """Mutate exports of every format and read them."""
        exports = []
        for form, name in (("safetensors", "e.safetensors"), ("videomae", "e.pth")):
            out = self._folder / name
            self._bench.must(command_line("export", str(self._bench.trained), "--format", form, "--out", str(out)))
            exports.append(out)

        def work(file: Path) -> Callable[[], object]:
            return command_line("export", str(file), "--out", str(file.with_name("again.safetensors")))

        return mutated_files(self._bench, count, "weights: flipped bits, cut, emptied", exports, work)

    def images(self, count: int) -> Tally:
        """Mutate images of many formats and modes, and use their folder as backgrounds."""
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (48, 64, 4), dtype=np.uint8)
        files = []
        for name, mode in (
            ("a.png", "RGBA"),
            ("b.png", "P"),
            ("c.png", "I;16"),
            ("d.jpg", "RGB"),
            ("e.jpg", "CMYK"),
            ("f.webp", "RGB"),
            ("g.tiff", "RGB"),
            ("h.gif", "P"),
            ("i.bmp", "RGB"),
        ):
            image = Image.fromarray(pixels).convert("RGB")
            image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
            image.save(self._folder / name)
            files.append(self._folder / name)

        def work(file: Path) -> Callable[[], object]:
            folder = file.parent / "backgrounds"
            folder.mkdir()
            shutil.move(file, folder)
            override = f"dataset.assets.backgrounds={folder}"
            kind = "dataset.params.background.kind=photograph"
            return command_line("recipes", "check", str(self._bench.recipe), "--set", override, "--set", kind)

        return mutated_files(self._bench, count, "image: flipped bits, cut, emptied", files, work)

    def videos(self, count: int) -> Tally:
        """Mutate videos and decode views of them."""
        import av

        files = []
        for name, codec in (("a.mp4", "libx264"), ("b.avi", "mpeg4"), ("c.webm", "libvpx")):
            path = self._folder / name
            with av.open(str(path), "w") as container:
                stream = container.add_stream(codec, rate=Fraction(25))
                stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
                for value in range(20):
                    frame = np.full((48, 64, 3), 10 * value, np.uint8)
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
                container.mux(stream.encode())
            files.append(path)
        return mutated_files(self._bench, count, "video: flipped bits, cut, emptied", files, _read_video)


def _read_video(file: Path) -> Callable[[], object]:
    def read() -> None:
        from smile_synth.errors import SmileSynthError, in_one_line
        from smile_synth.scene import Canvas
        from smile_synth.videos.views import Spacing, read_views

        try:
            read_views(file, Spacing(), Canvas(32, 32, 8))
        except (SmileSynthError, OSError) as error:
            print(f"smile-synth: {in_one_line(error)}", file=sys.stderr)
            raise SystemExit(2) from None

    return read
