package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// printed is the output of a command, which ends with an error where not all of it was taken: on a full
// disk a list that is empty would say that there is nothing.
type printed struct {
	io.Writer
	wrong error // the first one; nil for none
}

func (p *printed) Write(b []byte) (int, error) {
	n, err := p.Writer.Write(b)
	p.wrong = cmp.Or(p.wrong, err)
	return n, err
}

// table prints lines with aligned columns, cut to the width of the terminal. What it prints is
// foreign, so nothing in it moves the cursor: see shown.
type table struct {
	head []string
	rows [][]string
	// width of the terminal in columns; 0 when it is none, and nothing is cut.
	width int
}

func newTable(out io.Writer, head ...string) *table { return &table{head: head, width: widthOf(out)} }

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = shown(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// print prints the table, or why there is none.
func (t *table) print(out io.Writer, none string) error {
	if len(t.rows) == 0 {
		_, err := fmt.Fprintln(out, none)
		return err
	}
	widths := make([]int, len(t.head))
	all := append([][]string{t.head}, t.rows...)
	for _, row := range all {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		if _, err := fmt.Fprintln(out, fit(strings.TrimRight(line.String(), " "), t.width)); err != nil {
			return err
		}
	}
	return nil
}

// fit cuts a line to a width; 0 means any.
func fit(line string, width int) string {
	if width <= 0 || utf8.RuneCountInString(line) <= width {
		return line
	}
	runes := []rune(line)
	return string(runes[:width-1]) + "…"
}

// shown makes foreign text harmless for a terminal: control characters, and what else has no
// glyph, are escaped.
func shown(s string) string {
	plain := utf8.ValidString(s)
	for _, r := range s {
		plain = plain && unicode.IsPrint(r)
	}
	if plain {
		return s
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// widthOf is the width of a terminal in columns, 0 when out is none; heightOf its height in rows.
func widthOf(out io.Writer) int  { return int(sizeOf(out).Col) }
func heightOf(out io.Writer) int { return int(sizeOf(out).Row) }

func sizeOf(out io.Writer) unix.Winsize {
	if p, ok := out.(*printed); ok {
		out = p.Writer
	}
	f, ok := out.(*os.File)
	if !ok {
		return unix.Winsize{}
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return unix.Winsize{}
	}
	return *size
}
