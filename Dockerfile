# Nothing but the static binary, which `make dist` builds: there is no image to
# pull. The roots of trust are in the binary.
FROM scratch
COPY dist/serai /serai
# Any user will do. Ports below 1024 need the capability net_bind_service (the
# job files add it), or the sysctl net.ipv4.ip_unprivileged_port_start=80.
USER 65532:65532
EXPOSE 80 443
LABEL org.opencontainers.image.title="serai" \
      org.opencontainers.image.description="Ingress of a Nomad cluster" \
      org.opencontainers.image.licenses="Apache-2.0"
ENTRYPOINT ["/serai"]
CMD ["serve"]
