"""The compiled extensions and their flags; all else is in pyproject.toml.

CNNX_PURE=1   builds without any extension: everything then runs on the NumPy kernels.
CNNX_DEBUG=1  builds the extensions with bounds and overflow checks.
CNNX_SANITIZE=address,undefined  or thread  builds them with these sanitizers of GCC or Clang; see docs/reliability.md.
CNNX_IMITATE_AVX512=1  builds what is made for AVX-512 for AVX2, so that its tests run on a machine without AVX-512.
"""

import os
import re
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

FOLDER = Path("cnnx/_kernels")
PURE = os.environ.get("CNNX_PURE", "0") not in ("", "0")
DEBUG = os.environ.get("CNNX_DEBUG", "0") not in ("", "0")
SANITIZERS = os.environ.get("CNNX_SANITIZE", "")
IMITATE_AVX512 = os.environ.get("CNNX_IMITATE_AVX512", "0") not in ("", "0")
# Cython's code for memoryviews, in a module of its own: a copy in every extension is 130 KB each.
SHARED = "cnnx._kernels.ground.memoryviews"


class BuildKernels(build_ext):
    """Sets the flags once the compiler is known."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def run(self) -> None:
        super().run()
        if not (self.inplace or self.editable_mode):
            # `python -m` looks into the working folder first: the source folder must be as fast as what is installed.
            self.copy_extensions_to_source()

    def build_extensions(self) -> None:
        compile_flags, link_flags = [], []
        if self.compiler.compiler_type != "msvc":
            # No -march=native and no -ffast-math: a wheel must run on every machine of its platform,
            # and sums must keep their order. -g0 keeps a wheel small. Loops are aligned, for where one lies by chance
            # made it up to 40 % slower.
            compile_flags += ["-pthread", "-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden"]
            compile_flags += ["-falign-loops=16"]
            if IMITATE_AVX512:
                compile_flags.append("-DCNNX_IMITATE_AVX512")
            if SANITIZERS:
                # Of flags that contradict each other the last counts; Python's own define what an overflow gives.
                # What is found ends the process, so that no test can pass over it.
                compile_flags += ["-O1", "-g1", "-fno-omit-frame-pointer", "-fno-wrapv", "-fno-sanitize-recover=all"]
                compile_flags.append(f"-fsanitize={SANITIZERS}")
                link_flags.append(f"-fsanitize={SANITIZERS}")
                if "address" in SANITIZERS.split(","):
                    compile_flags.append("-DCNNX_ADDRESS_SANITIZER")
            elif sys.platform.startswith("linux"):
                link_flags.append("-Wl,--strip-all")
            if sys.platform.startswith("linux"):
                link_flags.append("-pthread")
        for extension in self.extensions:
            extension.extra_compile_args = compile_flags
            extension.extra_link_args = link_flags
        super().build_extensions()


def mark_pure() -> None:
    """Leave a note for the package, which warns of kernels that are missing only where they were asked for."""
    mark = FOLDER / "PURE"
    if PURE:
        mark.write_text("Built with CNNX_PURE=1: there are no compiled kernels.\n", encoding="utf-8")
    else:
        mark.unlink(missing_ok=True)


def declare_loops() -> None:
    """Write Cython's declarations of the structures in loops.h, and of the loops in its list."""
    source = re.sub(r"/\*.*?\*/|\\\n", "", (FOLDER / "loops/loops.h").read_text(encoding="utf-8"), flags=re.S)
    source = source.replace("ptrdiff_t", "Py_ssize_t")
    loops = [
        f"void {name}({' '.join(parameters.split())}) noexcept nogil"
        for name, parameters in re.findall(r"LOOP\((\w+), \((.*?)\)\)", source, flags=re.S)
    ]
    lines = ["# Written by setup.py.", "from libc.stdint cimport uint8_t", 'cdef extern from "loops.h" nogil:']
    for body, name in re.findall(r"typedef struct \{(.*?)\} (\w+);", source, flags=re.S):
        members = loops if name == "loops" else [member.strip() for member in body.split(";")[:-1]]
        lines += [f"    ctypedef struct {name}:", *(f"        {member}" for member in members)]
    declarations = "\n".join(lines) + "\n"
    target = FOLDER / "ground/loops.pxd"
    # A file that is as it was keeps its time, and what was made of it is not made again.
    if not target.is_file() or target.read_text(encoding="utf-8") != declarations:
        target.write_text(declarations, encoding="utf-8")


def headers(path: Path) -> list[str]:
    """What an extension is built from besides its .pyx: any header if it includes one itself, else what all include."""
    includes = "cdef extern from" in path.read_text(encoding="utf-8")
    return sorted(map(str, FOLDER.rglob("*.h"))) if includes else [str(FOLDER / "loops/loops.h")]


def extensions() -> list[Extension]:
    """One extension for each .pyx file, translated to C."""
    from Cython.Build import cythonize

    declare_loops()
    folders = [str(FOLDER / name) for name in ("ground", "loops")]
    return cythonize(
        [
            Extension(
                str(path.with_suffix("")).replace(os.sep, "."), [str(path)], include_dirs=folders, depends=headers(path)
            )
            for path in sorted(FOLDER.rglob("*.pyx"))
        ]
        + [Extension(SHARED, [f"{SHARED.replace('.', '/')}.c"])],
        shared_utility_qualified_name=SHARED,
        build_dir="build/cython",
        annotate=DEBUG,
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "wraparound": False,
            "initializedcheck": DEBUG,
            "overflowcheck": DEBUG,
            "cdivision": True,  # no divisor is zero; the code is written for C's rounding
            "freethreading_compatible": True,
            "embedsignature": True,
            "embedsignature.format": "python",
        },
    )


mark_pure()
setup(ext_modules=[] if PURE else extensions(), cmdclass={"build_ext": BuildKernels})
