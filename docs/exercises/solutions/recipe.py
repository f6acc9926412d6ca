def recipe() -> str:
    return """FROM base
WORKDIR /app
COPY package.json install ./
RUN --mount=type=secret,id=token sh install && rm -r /tmp/rubbish
COPY app.js ./
USER 1000
ENTRYPOINT ["cat", "/app/app.js"]
"""
