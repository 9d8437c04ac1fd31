# syntax=docker/dockerfile:1
# The proxy: the last stage, and the default one. With `--target demo` the issuer, the demo and its API as well.
#   docker build -t bff . && docker run --read-only --env-file bff.env -p 8080:8080 bff
# By digest, as a release should be built:
#   docker build --build-arg PYTHON_DIGEST=sha256:… -t bff .

ARG PYTHON_TAG=3.13-slim
ARG PYTHON_DIGEST=

FROM python:${PYTHON_TAG}${PYTHON_DIGEST:+@${PYTHON_DIGEST}} AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1

# The project's wheel; the tools that make it are pinned, too.
FROM base AS wheel
WORKDIR /src
COPY config/locks/build.lock config/locks/
RUN python -m venv /opt/build && /opt/build/bin/python -m pip install --require-hashes -r config/locks/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY config ./config
COPY bff ./bff
RUN /opt/build/bin/python -m hatchling build -t wheel -d /wheels

# The environments: what the locks name, and nothing else; then the project without its dependencies.
FROM base AS proxy-environment
RUN python -m venv /opt/bff
COPY config/locks/requirements.lock /locks/
RUN /opt/bff/bin/python -m pip install --require-hashes -r /locks/requirements.lock
COPY --from=wheel /wheels /wheels
RUN /opt/bff/bin/python -m pip install --no-deps --no-index --find-links /wheels bff-session-proxy \
    && /opt/bff/bin/python -m pip check && /opt/bff/bin/python -m pip uninstall -y pip

FROM base AS demo-environment
RUN python -m venv /opt/bff
COPY config/locks/demo.lock /locks/
RUN /opt/bff/bin/python -m pip install --require-hashes -r /locks/demo.lock
COPY --from=wheel /wheels /wheels
RUN /opt/bff/bin/python -m pip install --no-deps --no-index --find-links /wheels bff-session-proxy \
    && /opt/bff/bin/python -m pip check && /opt/bff/bin/python -m pip uninstall -y pip \
    && ln -s /opt/bff/lib/python*/site-packages/bff/demo /opt/bff/demo

# The bill of materials (CycloneDX) of each environment.
FROM wheel AS proxy-sbom
COPY --from=proxy-environment /opt/bff /opt/bff
RUN /opt/build/bin/cyclonedx-py environment --output-reproducible -o /sbom.json /opt/bff/bin/python

FROM wheel AS demo-sbom
COPY --from=demo-environment /opt/bff /opt/bff
RUN /opt/build/bin/cyclonedx-py environment --output-reproducible -o /sbom.json /opt/bff/bin/python

FROM base AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="bff" \
      org.opencontainers.image.description="A backend-for-frontend session proxy: tokens stay in Redis" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A fixed number, so that a cluster can check that it is not root.
RUN groupadd --gid 10001 bff && useradd --uid 10001 --gid bff --no-create-home --shell /usr/sbin/nologin bff \
    && install -d -o bff -g bff -m 0700 /var/lib/bff
ENV PATH=/opt/bff/bin:$PATH PYTHONUNBUFFERED=1 BFF_SERVER__HOST=0.0.0.0 BFF_LOG__FORMAT=json
USER 10001:10001
# Nothing is written: the root may be read-only, and no folder needs to be mounted.
WORKDIR /var/lib/bff
EXPOSE 8080
# Alive, not ready: a proxy whose Redis is down must not be killed for it. The ops port stays inside.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9090/livez', timeout=2)"]
STOPSIGNAL SIGTERM
CMD ["bff", "serve"]

FROM runtime AS demo
COPY --from=demo-sbom /sbom.json /usr/share/sbom/bff.cdx.json
COPY --from=demo-environment /opt/bff /opt/bff

FROM runtime AS proxy
COPY --from=proxy-sbom /sbom.json /usr/share/sbom/bff.cdx.json
COPY --from=proxy-environment /opt/bff /opt/bff
