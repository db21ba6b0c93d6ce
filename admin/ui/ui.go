// Package ui answers: how does the admin's state look in a browser?
//
// It has the templates, the style and the script of the dashboard, all embedded: nothing is
// fetched from elsewhere. What is shown is foreign (tags, names of services), so it reaches
// pages through html/template alone.
package ui

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"serai/internal/pace"
)

//go:embed pages static
var files embed.FS

// Security is the Content-Security-Policy of every answer: our own files alone, no inline
// script or style, in nobody's frame.
const Security = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Pages renders pages.
type Pages struct{ templates map[string]*template.Template }

// Names are the pages, in the order of the menu; "route" is not in it.
var menu = [...]struct{ name, title string }{
	{"overview", "Overview"}, {"routes", "Routes"}, {"instances", "Instances"}, {"rejections", "Rejections"},
	{"certificates", "Certificates"}, {"events", "Events"}, {"explain", "Explain"},
}

// New reads the templates.
func New() (*Pages, error) {
	p := &Pages{templates: make(map[string]*template.Template)}
	for _, name := range append(names(), "route") {
		t, err := template.New(name).Funcs(functions).ParseFS(files, "pages/frame.html", "pages/parts.html", "pages/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("page %s: %w", name, err)
		}
		p.templates[name] = t
	}
	return p, nil
}

func names() (all []string) {
	for _, m := range menu {
		all = append(all, m.name)
	}
	return all
}

// Link is one entry of the menu.
type Link struct {
	Name, Title string
	Here        bool
}

// Page is what a page shows.
type Page struct {
	Name, Title string
	// Serai names the serai, State is its state in a word.
	Serai, Version, State string
	// Query is the request's, without follow.
	Query url.Values
	// Problem is what is wrong with it, empty for nothing.
	Problem string
	Data    any
}

// Menu are the links to all pages.
func (p *Page) Menu() (links []Link) {
	for _, m := range menu {
		links = append(links, Link{m.name, m.title, m.name == p.Name || m.name == "routes" && p.Name == "route"})
	}
	return links
}

// With is the query with another value, for links; an empty value removes it.
func (p *Page) With(name string, value any) string {
	q := make(url.Values)
	for k, v := range p.Query {
		q[k] = v
	}
	q.Set(name, fmt.Sprint(value))
	if text := fmt.Sprint(value); text == "" || text == "0" {
		q.Del(name)
	}
	return "?" + q.Encode()
}

// Whole returns a page.
func (p *Pages) Whole(page *Page) ([]byte, error) { return p.render("frame", page) }

// Part returns the part of a page that changes.
func (p *Pages) Part(page *Page) ([]byte, error) { return p.render("main", page) }

// render makes a page, which is whole, or an error.
func (p *Pages) render(what string, page *Page) ([]byte, error) {
	t := p.templates[page.Name]
	if t == nil {
		return nil, fmt.Errorf("there is no page %q", page.Name)
	}
	var b pacedBuffer
	err := t.ExecuteTemplate(&b, what, page)
	if err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// pacedBuffer gives the processor up now and then: a long page is not to delay requests.
type pacedBuffer struct {
	bytes.Buffer
	pace pace.Pace
}

// Write appends to the buffer.
func (b *pacedBuffer) Write(p []byte) (int, error) {
	b.pace.Step()
	return b.Buffer.Write(p)
}

// Static serves the style, the script and the icon below a prefix.
func Static(prefix string) http.Handler {
	static, err := fs.Sub(files, "static")
	if err != nil { // the name is valid
		panic(err)
	}
	return http.StripPrefix(prefix, http.FileServerFS(static))
}

var functions = template.FuncMap{
	"ago": ago, "until": until, "when": when, "rate": Rate, "millis": Millis, "line": line, "area": area, "clock": clock, "join": strings.Join, "short": short, "largest": largest, "number": number,
	"link": URL, "pasted": pasted,
}

// pasted returns what of an advice can be pasted into a job file, a tag or a value; empty
// when it is words for people.
func pasted(advice string) string {
	if _, tag, ok := strings.Cut(advice, "Write "); ok {
		advice = tag
	}
	advice, _, _ = strings.Cut(advice, "; ")
	first, _, more := strings.Cut(advice, " ")
	if name, _, isTag := strings.Cut(first, "="); more && !(isTag && strings.Contains(name, ".")) {
		return ""
	}
	return advice
}

// URL makes a URL of a path and pairs of names, which need no escape, and values.
func URL(path string, pairs ...string) string {
	b := []byte(path)
	separator := byte('?')
	for i := 0; i+1 < len(pairs); i += 2 {
		b = append(b, separator)
		b = append(b, pairs[i]...)
		b = append(b, '=')
		b = append(b, url.QueryEscape(pairs[i+1])...)
		separator = '&'
	}
	return string(b)
}

func short(s string) string { return fmt.Sprintf("%.8s", s) }

func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" }

func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

// ago says how long something has been so.
func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return span(time.Since(t))
}

func until(t time.Time) string { return span(time.Until(t)) }

func span(d time.Duration) string {
	switch d = max(0, d); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// Rate shows so many in a second.
func Rate(v float64) string {
	switch {
	case v < .005:
		return "0"
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 1000:
		return fmt.Sprintf("%.1f", v)
	}
	return number(int(v))
}

// Millis shows so many milliseconds.
func Millis(v float64) string {
	switch {
	case v == 0:
		return "–"
	case v < 10:
		return fmt.Sprintf("%.1f ms", v)
	case v < 10000:
		return fmt.Sprintf("%.0f ms", v)
	}
	return fmt.Sprintf("%.1f s", v/1000)
}

// number groups digits: 12 345.
func number(n any) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}
