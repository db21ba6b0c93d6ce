package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// writeImage writes an image for `docker load` that holds a binary alone, as the Dockerfile has it:
// without a daemon, for any architecture, and the same bytes each time.
func writeImage(binary, arch, tag, path string) error {
	ref, err := name.NewTag(tag)
	if err != nil {
		return err
	}
	at, err := sourceTime()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	if err := w.WriteHeader(&tar.Header{Name: "serai", Mode: 0o755, Size: int64(len(text)), ModTime: at, Format: tar.FormatUSTAR}); err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil })
	if err != nil {
		return err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return err
	}
	layers, err := image.ConfigFile()
	if err != nil {
		return err
	}
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{
		Architecture: arch, OS: "linux", Created: v1.Time{Time: at}, RootFS: layers.RootFS,
		Config: v1.Config{
			User: "65532:65532", Entrypoint: []string{"/serai"}, Cmd: []string{"serve"},
			ExposedPorts: map[string]struct{}{"80": {}, "443": {}},
			Labels: map[string]string{
				"org.opencontainers.image.title":       "serai",
				"org.opencontainers.image.description": "Ingress of a Nomad cluster",
				"org.opencontainers.image.licenses":    "Apache-2.0",
			},
		},
	})
	if err != nil {
		return err
	}
	return tarball.WriteToFile(path, ref, image)
}

// sourceTime is when the commit was made that is built: the time of all files of a release.
func sourceTime() (time.Time, error) {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
