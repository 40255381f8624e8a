# Copies the hooks to a volume that a service mounts, and ends; `memwatch-init /hooks`.
#   docker build -f deploy/docker/init.Dockerfile -t memwatch/init:0.1.0 .
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
COPY . /src
RUN ["python3", "/src/deploy/docker/hooks.py", "collect", "/src", "/opt/memwatch-hooks"]

FROM ${BASE}
COPY --from=build /opt/memwatch-hooks /opt/memwatch-hooks
COPY deploy/docker/copy_hooks.py /opt/copy_hooks.py
# A volume that is new is made as this folder is: whoever runs the image may fill it.
RUN ["python3", "-c", "import os; os.makedirs('/hooks'); os.chmod('/hooks', 0o1777)"]
USER 65532:65532
ENTRYPOINT ["python3", "-I", "/opt/copy_hooks.py", "/opt/memwatch-hooks"]
