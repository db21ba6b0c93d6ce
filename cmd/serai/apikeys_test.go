package main

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"serai/admin"
	"serai/router"
)

// apiKeys are the keys of all answers of the API.
func apiKeys() []string {
	keys := make(map[string]bool)
	seen := make(map[reflect.Type]bool)
	var walk func(reflect.Type)
	walk = func(of reflect.Type) {
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Array:
			walk(of.Elem())
		case reflect.Struct:
			if seen[of] || of == reflect.TypeFor[time.Time]() {
				return
			}
			seen[of] = true
			for i := range of.NumField() {
				f := of.Field(i)
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				if name == "-" || !f.IsExported() && !f.Anonymous {
					continue
				}
				if name != "" {
					keys[name] = true
				}
				walk(f.Type)
			}
		}
	}
	for _, v := range []any{
		admin.Status{}, admin.RecentTraffic{}, admin.List[admin.RouteTraffic]{}, admin.List[*admin.Instance]{}, admin.List[router.Rejection]{},
		admin.Certificates{}, admin.Events{}, admin.Explanation{},
	} {
		walk(reflect.TypeOf(v))
	}
	return slices.Sorted(maps.Keys(keys))
}
