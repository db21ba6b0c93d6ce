package router_test

import (
	"fmt"
	"strings"
	"testing"

	"serai/router"
)

// BenchmarkManyGuards reads as many tags as one instance may have: routes that claim the same with
// different guards, open ones beside a guard, and guards whose paths cannot be read.
func BenchmarkManyGuards(b *testing.B) {
	list := func(n int, format string) string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf(format, i)
		}
		return strings.Join(all, ",")
	}
	hosts, paths := "host="+list(128, "h%d.x"), "path="+list(8, "/p%d")
	for name, tag := range map[string]func(n int) []string{
		"different":  func(n int) []string { return []string{hosts, paths, fmt.Sprintf("allow=10.%d.0.0/16", n)} },
		"open":       func(int) []string { return []string{hosts, paths} },
		"unreadable": func(int) []string { return []string{hosts, "path=x", "allow=10.0.0.0/8"} },
		"wide":       func(int) []string { return []string{"host=*,*.x," + list(100, "*.h%d.x"), paths} },
	} {
		tags := []string{"ingress.z." + hosts, "ingress.z.path=y", "ingress.z.deny=10.0.0.0/8", "ingress.y." + hosts, "ingress.y." + paths, "ingress.y.deny=10.0.0.0/8"}
		for n := range 62 {
			for _, s := range tag(n) {
				tags = append(tags, fmt.Sprintf("ingress.r%d.%s", n, s))
			}
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if definitions, problems := router.ParseTags("ingress", tags); len(definitions) == 0 || len(problems) == 0 {
					b.Fatalf("%d definitions, %d problems", len(definitions), len(problems))
				}
			}
		})
	}
}
