"""Kernels as machine code: compiled by llvmlite, once for a processor, and kept on disk."""

import ctypes
import hashlib
import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from rnnlab.kernels.llvm_math import LIBRARY
from rnnlab.kernels.llvm_text import Machine
from rnnlab.kernels.nodes import NotDerivable

KEPT = 1000
"""Entries of the cache on disk; the oldest make room."""
HEADER = hashlib.sha256().digest_size

_ENGINES: list[Any] = []
"""They own the code, for as long as the process lives."""
_LOADED: dict[str, int] = {}


@cache
def llvm() -> Any:
    """``llvmlite.binding``, ready to compile for this processor.

    Raises:
        NotDerivable: it is not installed, or does not know the processor.
    """
    try:
        import llvmlite.binding as binding
    except (ImportError, OSError) as error:
        raise NotDerivable("llvmlite is not installed: pip install llvmlite") from error
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


@cache
def machine() -> Machine:
    """This processor.

    Raises:
        NotDerivable: it has no fused multiply-add.
    """
    features = llvm().get_host_cpu_features()
    arm = llvm().get_process_triple().startswith(("aarch64", "arm64"))
    if arm:
        return Machine(bytes=16, accumulators=24)
    if not features.get("fma"):
        raise NotDerivable("the processor has no fused multiply-add")
    if features.get("avx512f"):
        return Machine(bytes=64, accumulators=24)
    return Machine(bytes=32, accumulators=12)


def load(text: str, name: str) -> int:
    """The address of function ``name`` of a module in LLVM's language, compiled or from the cache."""
    key = hashlib.sha256("\n".join([_processor(), name, text]).encode()).hexdigest()
    if key not in _LOADED:
        code = read(key)
        if code is None:
            code = compile_text(text)
            write(key, code)
        binding = llvm()
        engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _target_machine())
        engine.add_object_file(binding.ObjectFileRef.from_data(code))
        engine.finalize_object()
        _ENGINES.append(engine)
        _LOADED[key] = engine.get_function_address(name)
    return _LOADED[key]


def compile_text(text: str) -> bytes:
    """Object code."""
    binding, target = llvm(), _target_machine()
    module = binding.parse_assembly(text)
    module.triple = binding.get_process_triple()
    module.data_layout = str(target.target_data)
    builder = binding.create_pass_builder(target, binding.create_pipeline_tuning_options(speed_level=2))
    passes = binding.create_new_module_pass_manager()
    # what the text leaves to do; the whole pipeline of a compiler takes several times as long
    passes.add_sroa_pass()
    passes.add_new_gvn_pass()
    passes.add_loop_rotate_pass()
    passes.add_instruction_combine_pass()
    passes.add_loop_strength_reduce_pass()
    passes.add_dead_code_elimination_pass()
    passes.run(module, builder)
    return target.emit_object(module)


def _target_machine() -> Any:
    binding = llvm()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=3, jit=True
    )


@cache
def _processor() -> str:
    """Whatever the code depends on beside its text."""
    import llvmlite

    binding = llvm()
    version = ".".join(map(str, binding.llvm_version_info))
    features = binding.get_host_cpu_features().flatten()
    return " ".join(
        [binding.get_process_triple(), binding.get_host_cpu_name(), features, llvmlite.__version__, version]
    )


@cache
def library() -> frozenset[str]:
    """The element-wise operations that C's library has on this machine; kernels are told where."""
    binding, found = llvm(), set()
    names: list[str | None] = ["ucrtbase"] if sys.platform == "win32" else [None, "libm.so.6"]
    for op, name in LIBRARY.items():
        addresses = [_address(each, names) for each in (name, f"{name}f")]
        if all(addresses):
            for each, address in zip((name, f"{name}f"), addresses, strict=True):
                binding.add_symbol(each, address)
            found.add(op)
    return frozenset(found)


def _address(name: str, libraries: list[str | None]) -> int | None:
    for library in libraries:
        try:
            return ctypes.cast(getattr(ctypes.CDLL(library), name), ctypes.c_void_p).value
        except (OSError, AttributeError):  # noqa: PERF203 (the next one may have it)
            continue
    return None


# ---- the cache on disk ----------------------------------------------------------------------------------------


def cache_directory() -> Path:
    """Where compiled kernels are kept: in the user's cache."""
    if os.environ.get("XDG_CACHE_HOME"):
        base = Path(os.environ["XDG_CACHE_HOME"])
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path.home() / ".cache"
    return base / "rnnlab" / "kernels"


def read(key: str) -> bytes | None:
    """The code of an entry; ``None`` where there is none that is whole and one's own."""
    try:
        directory = cache_directory()
        if hasattr(os, "getuid"):
            status = directory.stat()
            if status.st_uid != os.getuid() or status.st_mode & 0o022:
                return None  # others could write there
        data = (directory / key).read_bytes()
    except (OSError, RuntimeError):
        return None
    digest, code = data[:HEADER], data[HEADER:]
    return code if code and hashlib.sha256(code).digest() == digest else None


def write(key: str, code: bytes) -> None:
    """Keeps code, unless the directory can't be written."""
    try:
        directory = cache_directory()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=directory, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(code).digest() + code)
            os.replace(name, directory / key)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
        entries = [entry for entry in os.scandir(directory) if entry.is_file(follow_symlinks=False)]
        if len(entries) > KEPT:
            for entry in sorted(entries, key=lambda entry: entry.stat().st_mtime)[: len(entries) - KEPT]:
                Path(entry.path).unlink(missing_ok=True)
    except (OSError, RuntimeError):
        return
