"""Builds the C walker where it can be built; everything else is in pyproject.toml.

MEMWATCH_WALKER=yes must build it, no must not; otherwise it is built if there is a compiler.
"""

import os
import sysconfig

from setuptools import Extension, setup

WANTED = os.environ.get("MEMWATCH_WALKER", "")
INCLUDE = sysconfig.get_path("include")

walker = Extension(
    "memwatch_hook._walker",
    ["csrc/module.c"],
    depends=[os.path.join("csrc", name) for name in sorted(os.listdir("csrc"))],
    include_dirs=[INCLUDE, f"{INCLUDE}/internal"],
    extra_compile_args=["-O2", "-Wall", "-Wextra", "-Wno-unused-function"],
    optional=WANTED != "yes",
)
setup(ext_modules=[] if WANTED == "no" else [walker])
