"""Write a network under another library's names, so that the library opens it; refuse what it cannot hold."""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from convnext.errors import UserError, nearest
from convnext.files import cannot_write, flush, write_bytes, write_pickle
from convnext.models import model_name
from convnext.peer_spec import PeerSpec, Spec
from convnext.roadmap import diff
from convnext.spec import CONVNEXT_TINY, RESNET50, NetSpec
from convnext.weights.model import Loaded, read_model, save_model
from convnext.weights.own import WEIGHTS_SAID
from convnext.weights.schemes import SCHEMES, scheme_named
from convnext.weights.sidecar import transformers_config, transformers_processor
from convnext.weights.statedict import WeightsChoice, WeightsKind, rename_all

TARGETS: tuple[str, ...] = (*SCHEMES, "convnext")
# timm builds these with 1x1 convolutions where the larger ones have linear layers.
_CONV_MLP = ("convnext_atto", "convnext_femto", "convnext_pico", "convnext_nano")
_TORCHVISION_MODELS = ("convnext_tiny", "convnext_small", "convnext_base", "convnext_large", "resnet50")
_FOLDER_FILES = ("config.json", "model.safetensors", "preprocessor_config.json")


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What was written: where, for whom, which weights of the source, and how it is opened there."""

    path: Path
    to: str
    weights: WeightsKind
    opened_by: str
    line: str


def convert(
    source: str | Path,
    out: str | Path,
    to: str,
    *,
    weights: WeightsChoice = "auto",
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Converted:
    """Read any checkpoint that `load` reads and write it at `out` for another library, bit for bit the same weights.

    to        official (.pth holds them under "model"), timm, torchvision: a .pth or .safetensors file; transformers: a
              folder with config.json, model.safetensors and preprocessor_config.json; convnext: our .safetensors
    weights   which of raw and EMA where the source holds both

    UserError when the library cannot hold the network, with the reason, or when `out` cannot be written.
    """
    if to not in TARGETS:
        raise UserError(f"there is no naming scheme {to}{nearest(to, TARGETS)}")
    out = Path(out)
    # Refuse a wrong name before a large file is read.
    _check_name(out, to)
    loaded = read_model(source, weights=weights, cache_dir=cache_dir, local_files_only=local_files_only)
    spec = loaded.network.spec
    opened_by = "convnext.load"
    if to == "convnext":
        _write_own(loaded, out)
    elif isinstance(spec, PeerSpec):
        opened_by = _peer_opened_by(spec, to, out)
        _write_tensors(_peer_tensors(loaded), out, to)
    else:
        check_holds(spec, to)
        opened_by = _opened_by(spec, to, out)
        if to == "transformers":
            _write_transformers(loaded, spec, out)
        else:
            _write_tensors(_renamed(loaded, to), out, to)
    said = f"{_named(spec)}, {spec.num_classes} classes, {WEIGHTS_SAID[loaded.weights]}"
    return Converted(
        path=out,
        to=to,
        weights=loaded.weights,
        opened_by=opened_by,
        line=f"{out}: {to} names, {said}; opened by {opened_by}",
    )


def _named(spec: Spec) -> str:
    if isinstance(spec, PeerSpec):
        return spec.title
    return model_name(spec) or f"depths {'-'.join(map(str, spec.depths))}, width {spec.width}"


def check_holds(spec: NetSpec, to: str) -> None:
    """Raise UserError with the reason where a library has no place for the network of a spec."""
    reason = _resnet_reason(spec, to) if spec.transitions == "in_block" else _convnext_reason(spec, to)
    if reason is not None:
        raise UserError(f"{to} cannot hold this network: {reason}; convert it to convnext, or keep the file as it is")


def _resnet_reason(spec: NetSpec, to: str) -> str | None:
    if to in ("official", "transformers"):
        return "its names are for ConvNeXt, and this is a net of the ResNet kind"
    if to == "torchvision" and spec.in_channels != 3:
        return f"its ResNets take 3 channels, not {spec.in_channels}"
    if len(spec.depths) != 4:
        return f"its nets have four stages, not {len(spec.depths)}"
    return _difference(spec, RESNET50, ("depths", "num_classes", "in_channels"))


def _convnext_reason(spec: NetSpec, to: str) -> str | None:
    if spec.isotropic:
        if to != "official":
            return "it has no isotropic ConvNeXt; official has"
        free = ("depths", "width", "layer_scale", "num_classes", "in_channels", "transitions")
        if spec.stem_stride != 16:
            return f"its isotropic ConvNeXt has a stem of stride 16, not {spec.stem_stride}"
        return _difference(spec, CONVNEXT_TINY, (*free, "stem_stride"))
    if len(spec.depths) != 4:
        return f"its ConvNeXt has four stages, not {len(spec.depths)}"
    if to in ("timm", "torchvision") and spec.layer_scale is None:
        # timm's class can do without, but timm.create_model drops the argument None that says so.
        return "its models always have LayerScale, and this one has none"
    if to == "torchvision" and spec.in_channels != 3:
        return f"its ConvNeXt takes 3 channels, not {spec.in_channels}"
    return _difference(spec, CONVNEXT_TINY, ("depths", "width", "layer_scale", "num_classes", "in_channels"))


def _difference(spec: NetSpec, model: NetSpec, free: tuple[str, ...]) -> str | None:
    fixed = {name: values for name, values in diff(model, spec).items() if name not in free}
    if not fixed:
        return None
    return "there " + ", ".join(f"{name} is {theirs}, not {ours}" for name, (theirs, ours) in fixed.items())


def _opened_by(spec: NetSpec, to: str, out: Path) -> str:
    head = f"num_classes={spec.num_classes}"
    if to == "official":
        return "the official code's load_state_dict"
    if to == "torchvision":
        name = model_name(spec)
        if name not in _TORCHVISION_MODELS:
            kind = "ResNet" if spec.transitions == "in_block" else "ConvNeXt"
            return f"torchvision.models.{kind} of depths {spec.depths}, width {spec.width}, and load_state_dict"
        return f"torchvision.models.{name}({head}) and load_state_dict"
    if to == "transformers":
        return f"ConvNextForImageClassification.from_pretrained({str(out)!r})"
    return f"timm.create_model({timm_arguments(spec)}, checkpoint_path={str(out)!r})"


def timm_arguments(spec: NetSpec) -> str:
    """Return the arguments of timm.create_model that build a spec: a name, and what differs from it."""
    name = model_name(spec)
    arguments = [repr(name)]
    if name is None and spec.transitions == "in_block":
        arguments = ["'resnet50'", f"layers={spec.depths}"]
    elif name is None:
        dims = tuple(spec.width * 2**stage for stage in range(len(spec.depths)))
        arguments = ["'convnext_tiny'", f"depths={spec.depths}", f"dims={dims}"]
    arguments.append(f"num_classes={spec.num_classes}")
    if spec.in_channels != 3:
        arguments.append(f"in_chans={spec.in_channels}")
    return ", ".join(arguments)


def _renamed(loaded: Loaded, to: str) -> dict[str, Tensor]:
    conv_mlp = to == "timm" and model_name(loaded.network.spec) in _CONV_MLP
    renamed = rename_all(loaded.network.state_dict(), scheme_named(to), conv_mlp=conv_mlp)
    return {name: tensor.contiguous() for name, tensor in renamed.items()}


def _peer_tensors(loaded: Loaded) -> dict[str, Tensor]:
    """Return the tensors of another library's network by the names that it gives them."""
    return {name.removeprefix("net."): tensor.contiguous() for name, tensor in loaded.network.state_dict().items()}


def _peer_opened_by(spec: PeerSpec, to: str, out: Path) -> str:
    if to != spec.library:
        raise UserError(f"{to} cannot hold {spec.title}; convert it to {spec.library} or convnext")
    size = {} if spec.size is None else {"img_size": spec.size}
    channels = {} if spec.in_channels == 3 else {"in_chans": spec.in_channels}
    options = {"num_classes": spec.num_classes, **channels, **(size if to == "timm" else {}), **dict(spec.options)}
    arguments = ", ".join([repr(spec.name), *(f"{name}={value!r}" for name, value in options.items())])
    if to == "torchvision":
        return f"torchvision.models.get_model({arguments}).load_state_dict(torch.load({str(out)!r}))"
    return f"timm.create_model({arguments}, checkpoint_path={str(out)!r})"


def _write_tensors(tensors: dict[str, Tensor], out: Path, to: str) -> None:
    if out.suffix == ".safetensors":
        write_bytes(out, safetensors_bytes(tensors, metadata={"format": "pt"}))
    else:
        write_pickle(out, {"model": tensors} if to == "official" else tensors)


def _write_own(loaded: Loaded, out: Path) -> None:
    kept = loaded.metadata
    save_model(
        out,
        loaded.network,
        labels=loaded.labels,
        preprocess=loaded.preprocess,
        recipe=kept.get("recipe"),
        metrics=kept.get("metrics"),
        # Which data it was trained on, and how that was split, stays with the weights: evaluating needs it.
        extra={
            **{name: kept[name] for name in ("run", "source") if name in kept},
            "converted_from": {"scheme": loaded.scheme, "weights": loaded.weights},
        },
    )


def _write_transformers(loaded: Loaded, spec: NetSpec, out: Path) -> None:
    """Write a folder beside `out`, then let it take its place."""
    preprocess = loaded.preprocess
    contents = {
        "model.safetensors": safetensors_bytes(_renamed(loaded, "transformers"), metadata={"format": "pt"}),
        "config.json": _json(transformers_config(spec, preprocess, loaded.labels)),
        "preprocessor_config.json": _json(transformers_processor(preprocess)),
    }
    _check_folder(out)
    try:
        made = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    except OSError as error:
        raise cannot_write(out, error) from error
    try:
        folder, old = made / "new", made / "old"
        folder.mkdir()
        for name, data in contents.items():
            (folder / name).write_bytes(data)
            flush(folder / name)
        _swap(folder, out, old)
    except OSError as error:
        raise cannot_write(out, error) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _swap(new: Path, out: Path, old: Path) -> None:
    existed = out.exists()
    if existed:
        out.rename(old)
    try:
        new.rename(out)
    except OSError:
        if existed:
            old.rename(out)
        raise


def _check_name(out: Path, to: str) -> None:
    if to == "transformers":
        _check_folder(out)
        return
    allowed = (".safetensors",) if to == "convnext" else (".pth", ".pt", ".bin", ".safetensors")
    if out.suffix not in allowed:
        raise UserError(f"the name of a {to} file must end in {' or '.join(allowed)}, got {out}")


def _check_folder(out: Path) -> None:
    """Refuse a folder that holds anything but an earlier conversion: taking its place would delete it."""
    if out.is_dir():
        others = sorted(path.name for path in out.iterdir() if path.name not in _FOLDER_FILES)
        if others:
            raise UserError(f"{out} holds other files ({', '.join(others[:3])}); name a new folder for transformers")
    elif out.exists():
        raise UserError(f"{out} is a file; transformers needs a folder, so name a new one")
