"""Builds the C walker and converter where they can be built; everything else is in pyproject.toml.

MEMWATCH_WALKER=yes must build it, no must not; otherwise it is built if there is a compiler.
"""

import os
import sysconfig

from setuptools import Extension, setup

WANTED = os.environ.get("MEMWATCH_WALKER", "")
INCLUDE = sysconfig.get_path("include")
# For Debian's pyconfig.h, which names a file by its place there: see build.py.
ABOVE = ["-idirafter", os.path.dirname(INCLUDE)]

walker = Extension(
    "memwatch_hook._walker",
    ["csrc/module.c"],
    depends=[os.path.join("csrc", name) for name in sorted(os.listdir("csrc"))],
    include_dirs=[INCLUDE, f"{INCLUDE}/internal"],
    extra_compile_args=["-O2", "-Wall", "-Wextra", "-Wno-unused-function", *ABOVE],
    optional=WANTED != "yes",
)
# Reads files, not interpreters: one build serves them all.
converter = Extension(
    "memwatch_hook._convert",
    ["csrc/convert.c"],
    depends=["csrc/convert_read.h", "csrc/convert_sites.h"],
    define_macros=[("Py_LIMITED_API", "0x03090000")],
    extra_compile_args=["-O2", "-Wall", "-Wextra", *ABOVE],
    py_limited_api=True,
    optional=WANTED != "yes",
)
setup(ext_modules=[] if WANTED == "no" else [walker, converter])
