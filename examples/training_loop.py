"""A masked autoencoder in a plain loop: python training_loop.py clips.zarr student.pt"""

import sys

import torch
from torch.nn import functional

import smile_synth as ss


def train(path: str, steps: int = 300, batch_size: int = 32) -> tuple[ss.Student, list[float]]:
    store, losses = ss.open_store(path), []
    torch.manual_seed(0)
    student = ss.Student.build(store.canvas, size="tiny", depth=4, patch_size=8, tubelet_size=4)
    grid, masks = student.shape.grid, ss.MaskParams(kind="tube", ratio=0.75)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3)
    with ss.Loader([store], batch_size=batch_size, seed=0) as loader:
        for step, batch in zip(range(steps), loader, strict=False):
            (is_masked_BN,) = ss.draw_masks(masks, grid, batch.boxes_BKT4, seed=0, step=step)
            predicted_BMD = student(ss.normalise(batch.frames_BTHWC), is_masked_BN).hidden_BMD
            pixels_BND = ss.patchify(batch.frames_BTHWC, grid).flatten(2) / 255
            target_BMD = pixels_BND[is_masked_BN].unflatten(0, (batch_size, -1))
            loss = functional.mse_loss(predicted_BMD, target_BMD)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return student, losses


if __name__ == "__main__":
    trained, curve = train(sys.argv[1])
    torch.save(trained.state_dict(), sys.argv[2])
    print(f"loss {curve[0]:.4f} -> {curve[-1]:.4f}; weights in {sys.argv[2]}")
