"""Which device the networks run on."""

from typing import Any

DEVICES = ("cpu", "cuda", "mps")


class DeviceMissing(Exception):
    """The device asked for by name is not here; `message` says what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = "DeviceMissing"
        self.message = message


def choose_device(wanted: str) -> str:
    """The device to use for `wanted`: "auto" is CUDA if torch sees one, else Apple's MPS, else the CPU.

    Raises DeviceMissing when a device named explicitly is not usable here, ValueError for any other word.
    """
    if wanted == "cpu":
        return wanted
    if wanted not in ("auto", *DEVICES):
        raise ValueError(f"device {wanted!r} is unknown: use auto, {', '.join(DEVICES)}")
    present = _torch_devices()
    if wanted == "auto":
        return present[0]
    if wanted not in present:
        raise DeviceMissing(
            f"device {wanted!r} was asked for, but torch finds only {', '.join(present)} on this machine; "
            "use auto or cpu, or install the driver and the matching torch"
        )
    return wanted


def _torch_devices() -> list[str]:
    import torch

    accelerators = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    return [name for name, is_available in accelerators.items() if is_available()] + ["cpu"]


def providers(device: str) -> list[Any]:
    """onnxruntime providers for `device`, the preferred first, in the form InferenceSession takes.

    CUDA is used only if the installed onnxruntime has it (the package onnxruntime-gpu). MPS has no provider,
    and CoreML is not used: a detector with dynamic axes can end the process inside CoreML.
    """
    import onnxruntime

    if device != "cuda" or "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return ["CPUExecutionProvider"]
    # kSameAsRequested: the arena otherwise doubles at each growth. HEURISTIC: an exhaustive search picks
    # convolutions by timing them, so another process could pick others and compute other bytes.
    cuda = {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"}
    return [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]
