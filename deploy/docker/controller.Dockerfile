# The controller, its analysis workers, and memwatchctl.
#   docker build -f deploy/docker/controller.Dockerfile -t memwatch/controller:0.1.0 .
# See agent.Dockerfile for the arguments.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
ARG PIP_NO_INDEX
ARG PIP_FIND_LINKS
COPY . /src
RUN ["python3", "-m", "venv", "/opt/memwatch"]
RUN ["/opt/memwatch/bin/python", "-m", "pip", "install", "--no-cache-dir", "/src[controller]"]
RUN ["/opt/memwatch/bin/python", "/src/deploy/docker/tidy.py", "/opt/memwatch"]
# The kernels, for any CPU: the image is built on another machine than it runs on.
ENV NUMBA_CPU_NAME=generic
RUN ["/opt/memwatch/bin/python", "-m", "memwatch_heap.warm"]

FROM ${BASE}
COPY --from=build /opt/memwatch /opt/memwatch
RUN ["/opt/memwatch/bin/python", "-c", "import os; os.makedirs('/var/lib/memwatch'); os.chown('/var/lib/memwatch', 65532, 65532)"]
ENV PYTHONDONTWRITEBYTECODE=1 HOME=/var/lib/memwatch NUMBA_CPU_NAME=generic
ENV MEMWATCH_CONTROLLER_DATA_DIR=/var/lib/memwatch
USER 65532:65532
EXPOSE 9466 9467
ENTRYPOINT ["/opt/memwatch/bin/python", "-m", "memwatch_controller"]
