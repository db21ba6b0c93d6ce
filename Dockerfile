# Nothing but the static binary, which `make dist` builds: there is no image to
# pull. The roots of trust are in the binary.
FROM scratch
COPY dist/serai /serai
# `serai hello`, `serai dev` and high ports work as this user. Ports 80 and 443:
#   - in a network of its own (docker run -p 80:80) too, because Docker sets
#     net.ipv4.ip_unprivileged_port_start=0 there;
#   - in the host's network (network_mode = "host") only with that sysctl on the
#     host. cap_add does not help, Docker gives capabilities to root alone: so the
#     job file runs it as root with net_bind_service and no other capability.
USER 65532:65532
EXPOSE 80 443
LABEL org.opencontainers.image.title="serai" \
      org.opencontainers.image.description="Ingress of a Nomad cluster" \
      org.opencontainers.image.licenses="Apache-2.0"
ENTRYPOINT ["/serai"]
CMD ["serve"]
