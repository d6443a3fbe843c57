"""What a bench is asked for, and one program of it: a model at one size, batch, precision and memory layout."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from convnext.errors import UserError

Dtype = Literal["fp32", "tf32", "bf16"]
Layout = Literal["nchw", "channels_last"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
# Why a program failed, where its process was taken as where it said so itself.
NO_MEMORY = "not enough memory"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How every program of a bench is run.

    device    cpu, cuda, cuda:1 or mps
    dtype     fp32 (TF32 off), tf32 (fp32 with TF32 on, CUDA only) or bf16 (inference: weights and activations;
              training: autocast over fp32 weights)
    layouts   the memory layouts to try
    compiled  whether the network goes through torch.compile
    train     a training step (forward, loss, backward, AdamW) instead of inference
    threads   of torch, None for its own choice
    seconds   of timed calls for each program, in at least three rounds
    reference the model, or NAME@SIZE, that the others' ratios are against
    seed      of all weights and pictures

    UserError for a value that no bench can have. float16 is not offered: it overflows in ConvNeXt-L and XL.
    """

    device: str = "cpu"
    dtype: Dtype = "fp32"
    layouts: tuple[Layout, ...] = ("nchw",)
    compiled: bool = False
    train: bool = False
    threads: int | None = None
    seconds: float = 5.0
    reference: str = "convnext_tiny"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UserError(f"dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}")
        if self.dtype == "tf32" and not self.device.startswith("cuda"):
            raise UserError(f"tf32 is a precision of NVIDIA's GPUs, and the device is {self.device}; take fp32")
        if not self.layouts or any(layout not in LAYOUTS for layout in self.layouts):
            raise UserError(f"layout must be one of {', '.join(LAYOUTS)}, auto, got {self.layouts!r}")
        if self.threads is not None and self.threads < 1:
            raise UserError(f"threads must be at least 1, got {self.threads}")
        if not 0 < self.seconds <= 3600:
            raise UserError(f"seconds must be above 0 and at most 3600, got {self.seconds:g}; 5 is usual")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return {**asdict(self), "layouts": list(self.layouts)}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network and the side of its pictures in pixels."""

    model: str
    size: int

    @property
    def title(self) -> str:
        """The name as it is typed, with its size."""
        return f"{self.model}@{self.size}"


@dataclass(frozen=True, kw_only=True)
class Program:
    """What one worker builds and times.

    It is also the key of a row: two programs that are equal have one row.
    """

    model: str
    size: int
    batch: int
    dtype: Dtype
    layout: Layout
    compiled: bool
    train: bool
    device: str
    threads: int | None
    seed: int

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise UserError(f"batch must be at least 1, got {self.batch}")
        if self.size < 1:
            raise UserError(f"the size of {self.model} must be at least 1 pixel, got {self.size}")

    @property
    def subject(self) -> Subject:
        """The network and its size."""
        return Subject(model=self.model, size=self.size)

    @property
    def title(self) -> str:
        """What it is called while it runs."""
        return f"{self.subject.title}, batch {self.batch}, {self.layout}"

    def to_dict(self) -> dict[str, Any]:
        """Return the program as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Program":
        """Build a program from `to_dict` values."""
        return cls(**values)


def program(subject: Subject, batch: int, layout: Layout, settings: Settings) -> Program:
    """Return the program of a network under the settings of a bench."""
    return Program(
        model=subject.model,
        size=subject.size,
        batch=batch,
        dtype=settings.dtype,
        layout=layout,
        compiled=settings.compiled,
        train=settings.train,
        device=settings.device,
        threads=settings.threads,
        seed=settings.seed,
    )
