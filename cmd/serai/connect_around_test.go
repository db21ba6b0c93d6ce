package main

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"

	"serai/internal/testnet"
)

// TestConnectNeverGoesAround: an instance of the mesh is never reached at its own address,
// whatever becomes of its sidecar: not with a request, a probe or a check, not once.
func TestConnectNeverGoesAround(t *testing.T) {
	t.Parallel()
	onMeshes(t, func(t *testing.T, a meshAgent) {
		app := instance(t, "web")
		local := net.JoinHostPort(app.Address, fmt.Sprint(app.Port))
		own, sidecar, alone := testnet.Address(t), testnet.Address(t), testnet.Address(t)
		direct := &fakeSidecar{}
		direct.serve(t, own)
		put := func(path string, body any) { t.Helper(); putMesh(t, a.url(), "", path, body) }
		register := func(id, service, listen string, tags, tagsOfSidecar []string) {
			t.Helper()
			_, port, _ := net.SplitHostPort(own)
			_, sidecarPort, _ := net.SplitHostPort(listen)
			side := map[string]any{
				"Address": "127.0.0.1", "Port": json.Number(sidecarPort), "Checks": []map[string]any{{"Name": "alias", "AliasService": id}},
				"Proxy": map[string]any{"LocalServicePort": app.Port},
			}
			if tagsOfSidecar != nil {
				side["Tags"] = tagsOfSidecar
			}
			put("/v1/agent/service/register", map[string]any{
				"ID": id, "Name": service, "Tags": tags, "Address": "127.0.0.1", "Port": json.Number(port), "Connect": map[string]any{"SidecarService": side},
			})
		}
		tags := []string{"ingress.host=web.example.org", "ingress.connect=on", "ingress.check=/", "ingress.wait=100ms"}
		register("web1", "web", sidecar, tags, nil)
		a.sidecar(t, "web1", "web", sidecar, local)
		// One of which only the sidecar has tags.
		register("alone1", "alone", alone, nil, []string{"ingress.host=alone.example.org", "ingress.wait=100ms"})
		a.sidecar(t, "alone1", "alone", alone, local)
		_, traffic, admin := meshServe(t, a.url(), "", "--upstream-max-idle=0")
		hosts := []string{"web.example.org", "alone.example.org"}
		reached := func(when string) {
			t.Helper()
			for _, host := range hosts {
				until(t, host+" "+when, func() bool { status, _ := get(traffic, host, "/"); return status == 200 })
			}
		}
		refused := func(when string, host string) {
			t.Helper()
			until(t, host+" "+when, func() bool { status, _ := get(traffic, host, "/"); return status >= 400 })
			for range 20 {
				if status, body := get(traffic, host, "/"); status < 400 {
					t.Errorf("%s: %s is answered %d %s", when, host, status, body)
				}
			}
		}
		reached("at first")
		for _, service := range []string{"web", "alone"} {
			intend(t, a, service, "deny")
		}
		for _, host := range hosts {
			refused("when it is denied", host)
		}
		for _, service := range []string{"web", "alone"} {
			intend(t, a, service, "allow")
		}
		reached("once it is allowed")
		put("/v1/agent/service/maintenance/web1-sidecar-proxy?enable=true", nil)
		refused("while its sidecar is in maintenance", hosts[0])
		put("/v1/agent/service/maintenance/web1-sidecar-proxy?enable=false", nil)
		reached("after the maintenance")
		for _, id := range []string{"web1", "alone1"} {
			put("/v1/agent/service/deregister/"+id+"-sidecar-proxy", nil)
		}
		for _, host := range hosts {
			refused("without its sidecar", host)
		}
		until(t, "a word about the sidecar", func() bool {
			_, body := get(admin, "localhost", "/rejections")
			return strings.Contains(body, "sidecar")
		})
		register("web1", "web", sidecar, tags, nil)
		register("alone1", "alone", alone, nil, []string{"ingress.host=alone.example.org", "ingress.wait=100ms"})
		reached("with its sidecar again")
		if silent, hellos, other := direct.hellos(); silent+hellos > 0 || other != nil {
			t.Errorf("the instance's own address got %d connections, and this: %q", silent+hellos, other)
		}
	})
}
