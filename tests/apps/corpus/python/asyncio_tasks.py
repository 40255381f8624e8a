"""Tasks that wait for an event nobody sets."""
# truth: {"verdict": "leaking", "holder": "background", "kind": "set", "class": "Task", "per_unit": 1, "at": "async def notify"}

import asyncio

from harness import serve

loop = asyncio.new_event_loop()
background = set()
ready = asyncio.Event()


async def notify(number):
    message = f"message {number}"
    await ready.wait()
    return message


async def spawn(number):
    background.add(asyncio.create_task(notify(number)))
    await asyncio.sleep(0)


serve(lambda number: loop.run_until_complete(spawn(number)))
