"""Modules are imported on first use, between the first two snapshots."""
# truth: {"verdict": "not leaking", "two": "growing, not sure", "warm": 1}

import importlib

from harness import serve

LATER = ["csv", "html.parser", "xml.dom.minidom", "decimal", "argparse", "zipfile", "configparser"]


def handle(number):
    importlib.import_module(LATER[number % len(LATER)])


serve(handle)
