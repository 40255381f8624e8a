"""A cache of weak values: what nobody else holds is gone."""
# truth: {"verdict": "not leaking"}

import weakref

from harness import serve


class Image:
    def __init__(self, number):
        self.pixels = [number] * 50


images = weakref.WeakValueDictionary()


def handle(number):
    image = Image(number)
    images[f"image-{number}"] = image


serve(handle)
