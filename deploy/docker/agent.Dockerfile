# The agent: a sidecar, or the helper that `memwatchctl capture --strategy docker` starts.
#   docker build -f deploy/docker/agent.Dockerfile -t memwatch/agent:0.1.0 .
# BASE is any image with Python 3.11 or newer; it needs no shell. PIP_NO_INDEX=1 with
# PIP_FIND_LINKS=/src/build/wheels builds without a network from what `make wheels` collected.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
ARG PIP_NO_INDEX
ARG PIP_FIND_LINKS
COPY . /src
RUN ["python3", "-m", "venv", "/opt/memwatch"]
RUN ["/opt/memwatch/bin/python", "-m", "pip", "install", "--no-cache-dir", "/src[agent]"]
RUN ["/opt/memwatch/bin/python", "/src/deploy/docker/tidy.py", "/opt/memwatch"]
RUN ["/opt/memwatch/bin/python", "/src/deploy/docker/hooks.py", "collect", "/src", "/opt/memwatch-hooks"]
RUN ["/opt/memwatch/bin/python", "/src/deploy/docker/hooks.py", "lend", "/opt/memwatch-hooks", "/opt/memwatch"]

FROM ${BASE}
COPY --from=build /opt/memwatch /opt/memwatch
COPY --from=build /opt/memwatch-hooks /opt/memwatch-hooks
# Open to every uid, as /tmp is: the agent runs as the user of the service beside it.
RUN ["/opt/memwatch/bin/python", "-c", "import os; os.makedirs('/var/lib/memwatch'); os.chmod('/var/lib/memwatch', 0o1777)"]
ENV PYTHONDONTWRITEBYTECODE=1 HOME=/var/lib/memwatch
USER 65532:65532
ENTRYPOINT ["/opt/memwatch/bin/python", "-m", "memwatch_agent"]
