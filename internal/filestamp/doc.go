// Package filestamp answers: was a file replaced, or changed, whose time and size are as
// before? What brings its time along, a volume, an image or rsync, may also have the same
// size.
package filestamp
