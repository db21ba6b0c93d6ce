// Pack makes what of a release is more than a binary: a Debian and an RPM package, as an nfpm.yaml
// describes them, and an image. It takes VERSION, ARCH and SOURCE_DATE_EPOCH from the environment,
// and prints the paths of what it makes. nfpm's own command has further formats, whose modules not every
// proxy has.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

func main() {
	config := flag.String("config", "nfpm.yaml", "`file` that describes the packages, with variables of the environment")
	target := flag.String("target", ".", "`folder` for what is made; paths in the file count from the current one")
	binary := flag.String("binary", "serai", "`file` that the image holds")
	flag.Parse()
	for _, format := range []string{"deb", "rpm"} {
		path, err := pack(*config, format, *target)
		if err != nil {
			fmt.Fprintf(os.Stderr, "make a %s of %s: %v\n", format, *config, err)
			os.Exit(1)
		}
		fmt.Println(path)
	}
	version, arch := os.Getenv("VERSION"), os.Getenv("ARCH")
	path := filepath.Join(*target, fmt.Sprintf("serai_%s_linux_%s.image.tar", version, arch))
	// A tag has no plus.
	if err := writeImage(*binary, arch, "serai:"+strings.ReplaceAll(version, "+", "-"), path); err != nil {
		fmt.Fprintf(os.Stderr, "make an image of %s: %v\n", *binary, err)
		os.Exit(1)
	}
	fmt.Println(path)
}

// pack makes one package, and returns where it is.
func pack(config, format, target string) (path string, err error) {
	c, err := nfpm.ParseFile(config)
	if err != nil {
		return "", err
	}
	info, err := c.Get(format)
	if err != nil {
		return "", err
	}
	info = nfpm.WithDefaults(info)
	packager, err := nfpm.Get(format)
	if err != nil {
		return "", err
	}
	// One name for both, as the other files of a release have it, where each format has its own for
	// an architecture.
	path = filepath.Join(target, fmt.Sprintf("%s_%s_linux_%s.%s", info.Name, os.Getenv("VERSION"), os.Getenv("ARCH"), format))
	file, err := os.Create(path)
	if err != nil {
		return "", err
	}
	return path, errors.Join(packager.Package(info, file), file.Close())
}
