"""Many tasks are in flight at each snapshot, more at the last; all of them end."""
# truth: {"verdict": "not leaking"}

import asyncio

from harness import serve


class Request:
    def __init__(self, number):
        self.url = f"/burst/{number}"


loop = asyncio.new_event_loop()
in_flight = set()


async def handle(request, turns):
    for _ in range(turns):
        await asyncio.sleep(0)
    return request.url


async def tick(number):
    task = asyncio.create_task(handle(Request(number), 30 + number // 4))
    in_flight.add(task)
    task.add_done_callback(in_flight.discard)
    await asyncio.sleep(0)


serve(lambda number: loop.run_until_complete(tick(number)))
