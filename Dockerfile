# syntax=docker/dockerfile:1
# The proxy; with another command the issuer or the demo's sample API (see compose.yaml).
#   docker build -t bff . && docker run --env-file bff.env -p 8080:8080 bff

FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/bff
ENV PATH=/opt/bff/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY pyproject.toml README.md LICENSE ./
COPY bff ./bff
COPY config ./config
RUN python -m pip install . \
    && ln -s "$(python -c 'import bff.demo as d; print(d.__path__[0])')" /opt/bff/demo

FROM python:3.13-slim
# A fixed number, so that a cluster can check that it is not root.
RUN groupadd --gid 10001 bff && useradd --uid 10001 --gid bff --no-create-home --shell /usr/sbin/nologin bff \
    && install -d -o bff -g bff -m 0700 /var/lib/bff
COPY --from=build /opt/bff /opt/bff
ENV PATH=/opt/bff/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    BFF_SERVER__HOST=0.0.0.0 BFF_LOG__FORMAT=json
USER 10001:10001
WORKDIR /var/lib/bff
EXPOSE 8080
# Alive, not ready: a proxy whose Redis is down must not be killed for it. The ops port stays inside.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9090/livez', timeout=2)"]
STOPSIGNAL SIGTERM
CMD ["bff", "serve"]
