package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"serai/admin"
	"serai/internal/history"
	"serai/router"
)

// TestPages: a list is the same in one piece as in pages.
func TestPages(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{})
	for i := range 7 {
		n.set(fmt.Sprint("s", i), instance(fmt.Sprintf("ingress.host=h%d.example.org", i), "ingress.x.nothing=1"))
	}
	for _, path := range []string{"routes", "instances", "rejections"} {
		var all, part admin.List[json.RawMessage]
		n.read("/api/v1/"+path, &all)
		if all.Total != 7 || len(all.Items) != 7 || all.Next != 0 {
			t.Fatalf("%s: %d of %d, next %d", path, len(all.Items), all.Total, all.Next)
		}
		var pieces []json.RawMessage
		for offset, more := 0, true; more; offset, more = part.Next, part.Next > 0 {
			part = admin.List[json.RawMessage]{}
			n.read(fmt.Sprintf("/api/v1/%s?limit=3&offset=%d", path, offset), &part)
			pieces = append(pieces, part.Items...)
		}
		for i := range all.Items {
			if i >= len(pieces) || string(pieces[i]) != string(all.Items[i]) {
				t.Errorf("%s: item %d of the pages is another one", path, i)
			}
		}
		if status, body := n.get("/api/v1/" + path + "?limit=0"); status != 400 || !strings.Contains(body, "not a number from 1 to 1000") {
			t.Errorf("%s?limit=0 answered %d %s", path, status, body)
		}
		if status, body := n.get("/api/v1/" + path + "?offset=100"); status != 200 || !strings.Contains(body, `"items": []`) {
			t.Errorf("%s beyond its end answered %d %s", path, status, body)
		}
	}
	var found admin.List[admin.RouteTraffic]
	if n.read("/api/v1/routes?q=H3.EXAMPLE", &found); found.Total != 1 || found.Items[0].Host != "h3.example.org" {
		t.Errorf("a search finds %+v", found)
	}
	if status, body := n.get("/api/v1/routes?sort=x"); status != 400 || !strings.Contains(body, "sort must be") {
		t.Errorf("sort=x answered %d %s", status, body)
	}
}

// TestEvents: since, selection and errors.
func TestEvents(t *testing.T) {
	ring := history.NewRing(0)
	n := newNode(t, admin.Options{History: ring}, router.Options{Logger: history.Logger(slog.New(slog.DiscardHandler), ring)})
	n.set("web", instance("ingress.host=a.example.org"))
	n.set("shop", instance("ingress.host=b.example.org", "ingress.x.nothing=1"))
	n.set("late", instance("ingress.host=b.example.org"))
	n.set("web")
	var all admin.Events
	n.read("/api/v1/events", &all)
	var kinds []string
	for _, e := range all.Items {
		kinds = append(kinds, fmt.Sprint(e.Service, " ", e.Kind))
	}
	for _, want := range []string{" route-claimed", "shop route-claimed", "shop rejected", "late route-contested", "web route-waits"} {
		if !strings.Contains(","+strings.Join(kinds, ",")+",", ","+want+",") {
			t.Errorf("%q is not among %q", want, kinds)
		}
	}
	var rest admin.Events
	n.read(fmt.Sprintf("/api/v1/events?since=%d", all.Items[1].ID), &rest)
	if len(rest.Items) != len(all.Items)-2 || rest.Last != all.Last {
		t.Errorf("after the second one there are %d of %d", len(rest.Items), len(all.Items))
	}
	n.read("/api/v1/events?since="+all.Items[0].Time.Add(-time.Hour).Format(time.RFC3339), &rest)
	if len(rest.Items) != len(all.Items) {
		t.Errorf("in the last hour there are %d of %d", len(rest.Items), len(all.Items))
	}
	n.read("/api/v1/events?event=rejected&limit=1", &rest)
	if len(rest.Items) != 1 || rest.Items[0].Why == "" || rest.Items[0].Details["instead"] == "" {
		t.Errorf("the rejections are %+v", rest.Items)
	}
	for _, bad := range []string{"since=yesterday", "event=x", "limit=-1", "nothing=1"} {
		if status, body := n.get("/api/v1/events?" + bad); status != 400 {
			t.Errorf("%s answered %d %s", bad, status, body)
		}
	}
}

// next reads the next message of server-sent events.
func next(t *testing.T, lines *bufio.Scanner) (id, data string) {
	t.Helper()
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "id: "):
			id = line[4:]
		case strings.HasPrefix(line, "data: "):
			data = line[6:]
		case line == "" && data != "":
			return id, data
		}
	}
	t.Fatalf("the stream has ended: %v", lines.Err())
	return "", ""
}

// TestFollow: events and lists come as they happen, a browser continues where it was, and
// there is room for only so many.
func TestFollow(t *testing.T) {
	ring := history.NewRing(0)
	n := newNode(t, admin.Options{History: ring, MaxFollowers: 2}, router.Options{Logger: history.Logger(slog.New(slog.DiscardHandler), ring)})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	follow := func(path, last string) *bufio.Scanner {
		r, _ := http.NewRequestWithContext(ctx, "GET", n.url+path, nil)
		if last != "" {
			r.Header.Set("Last-Event-ID", last)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		if kind := res.Header.Get("Content-Type"); kind != "text/event-stream" {
			t.Fatalf("%s answered %d %s", path, res.StatusCode, kind)
		}
		return bufio.NewScanner(res.Body)
	}
	n.set("web", instance("ingress.host=a.example.org"))
	events, routes := follow("/api/v1/events?follow=1", ""), follow("/api/v1/routes?follow=1", "")
	id, data := next(t, events)
	if !strings.Contains(data, "route-claimed") {
		t.Errorf("the first event is %s", data)
	}
	if _, data := next(t, routes); !strings.Contains(data, `"total":1`) {
		t.Errorf("the first list is %s", data)
	}
	if status, body := n.get("/api/v1/status?follow=1"); status != 503 || !strings.Contains(body, "--max-followers") {
		t.Errorf("a third one is answered %d %s", status, body)
	}
	n.set("shop", instance("ingress.host=b.example.org"))
	if _, data := next(t, events); !strings.Contains(data, `"host":"b.example.org"`) {
		t.Errorf("the next event is %s", data)
	}
	if _, data := next(t, routes); !strings.Contains(data, `"total":2`) {
		t.Errorf("the next list is %s", data)
	}
	cancel()
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(n.metric("serai_admin_followers "), " 0"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("those who have left still count")
		}
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	if _, data := next(t, follow("/api/v1/events?follow=1", id)); !strings.Contains(data, `"host":"b.example.org"`) {
		t.Errorf("who continues gets %s", data)
	}
}
