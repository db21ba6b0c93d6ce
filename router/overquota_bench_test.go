package router_test

import (
	"fmt"
	"testing"

	"serai/discovery"
	"serai/router"
	"serai/upstream"
)

// BenchmarkUpdateOverQuota changes a service of one tenant while another has thousands
// that are over the quota of their namespace: the service that uses most of it, which
// all their rejections name, must be computed only once.
func BenchmarkUpdateOverQuota(b *testing.B) {
	for _, services := range []int{2000, 8000} {
		b.Run(fmt.Sprint(services), func(b *testing.B) {
			builder, err := router.NewBuilder(router.NewRouter(), router.Options{Registry: upstream.NewRegistry(upstream.RegistryOptions{})})
			if err != nil {
				b.Fatal(err)
			}
			defer builder.Close()
			var many []*discovery.Service
			for s := range services {
				many = append(many, crowd("evil", fmt.Sprint("s", s), 1, 1, func(int) []string {
					return []string{fmt.Sprintf("ingress.host=a%d.evil.test,b%[1]d.evil.test,c%[1]d.evil.test,d%[1]d.evil.test,e%[1]d.evil.test,f%[1]d.evil.test,g%[1]d.evil.test", s)}
				}))
			}
			update := func(index int) {
				honest := crowd("honest", "web", 1, uint64(index), func(int) []string { return []string{fmt.Sprintf("ingress.host=h%d.test", index)} })
				builder.Update(snapshotOf(append([]*discovery.Service{honest}, many...)...))
			}
			update(1)
			b.ResetTimer()
			for i := range b.N {
				update(i + 2)
			}
		})
	}
}
