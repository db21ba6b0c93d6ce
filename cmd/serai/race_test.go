//go:build race

package main

// memoryFactor is how many times as much memory the race detector takes: it remembers who has
// read and written what.
const memoryFactor = 8
