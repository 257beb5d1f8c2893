package dir

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Bounds of one directory. A file over its bound is unreadable, a directory over its bound is unreadable as a whole.
const (
	maxFile  = 4 << 20
	maxTotal = 256 << 20
	maxFiles = 10_000
	maxDepth = 32
)

// inode tells one file or directory from another, whatever its name.
type inode struct{ dev, ino uint64 }

func inodeOf(info fs.FileInfo) inode {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return inode{uint64(st.Dev), st.Ino}
	}
	return inode{}
}

// stamp is all that can show that a file was touched between two reads. Only hash says that its content changed.
type stamp struct {
	id    inode
	size  int64
	mtime int64
	hash  [sha256.Size]byte
	err   string
}

// file is one manifest file as one read found it.
type file struct {
	rel   string
	stamp stamp
	data  []byte // nil when the reader already knows the content of this hash
	err   error  // why the content is not known
}

// tree is one read of the whole directory.
type tree struct {
	files   []file           // by rel
	skipped []string         // rel, sorted: there, and not read on purpose
	bad     map[string]error // directories (rel) that can't be listed, or not further
	err     error            // the directory as a whole can't be read
	total   int64
}

// same tells whether nothing that is read was touched between two reads: what is skipped may come and go.
func (t *tree) same(o *tree) bool {
	if o == nil || (t.err == nil) != (o.err == nil) || len(t.bad) != len(o.bad) {
		return false
	}
	for dir := range t.bad {
		if _, ok := o.bad[dir]; !ok {
			return false
		}
	}
	return slices.EqualFunc(t.files, o.files, func(a, b file) bool { return a.rel == b.rel && a.stamp == b.stamp })
}

// stamps are those of all files, by rel.
func (t *tree) stamps() map[string]stamp {
	m := make(map[string]stamp, len(t.files))
	for _, f := range t.files {
		m[f.rel] = f.stamp
	}
	return m
}

// observer is told of every directory before it is listed, so that a watch set in time misses nothing, and of every symbolic
// link that was followed.
type observer interface {
	entering(path string, id inode)
	following(link string)
}

// reader reads the tree below root.
type reader struct {
	root  string
	known func(rel string) ([sha256.Size]byte, bool) // the content whose decoding is already at hand
	watch observer                                   // may be nil
}

var errTooMany = errors.New("too many manifests")

// read reads everything. It always returns a tree: what failed is in it.
func (r *reader) read(ctx context.Context) *tree {
	t := &tree{bad: map[string]error{}}
	if r.watch != nil {
		r.watch.following(r.root)
	}
	switch info, err := os.Stat(r.root); {
	case err != nil:
		t.err = err
	case !info.IsDir():
		t.err = &fs.PathError{Op: "read", Path: r.root, Err: syscall.ENOTDIR}
	default:
		t.err = r.dir(ctx, t, ".", []inode{inodeOf(info)})
		if err, ok := t.bad["."]; ok && t.err == nil {
			t.err = err
		}
	}
	slices.SortFunc(t.files, func(a, b file) int { return strings.Compare(a.rel, b.rel) })
	slices.Sort(t.skipped)
	return t
}

// dir reads one directory; above are the inodes from the root down to it. Its error ends the whole read.
func (r *reader) dir(ctx context.Context, t *tree, rel string, above []inode) error {
	path := filepath.Join(r.root, rel)
	if r.watch != nil {
		r.watch.entering(path, above[len(above)-1])
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		if rel == "." || !errors.Is(err, fs.ErrNotExist) {
			t.bad[rel] = err
		}
		return nil
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.entry(ctx, t, filepath.Join(rel, e.Name()), e, above); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) entry(ctx context.Context, t *tree, rel string, e fs.DirEntry, above []inode) error {
	if ignoredName(e.Name()) {
		t.skipped = append(t.skipped, rel)
		return nil
	}
	path := filepath.Join(r.root, rel)
	link := e.Type()&fs.ModeSymlink != 0
	if link && r.watch != nil {
		r.watch.following(path)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil && link:
		// The target is missing, perhaps for an instant of a swap: the link names manifests that can't be read.
		if manifestName(e.Name()) {
			t.files = append(t.files, file{rel: rel, err: err, stamp: stamp{err: err.Error()}})
		} else {
			t.bad[rel] = err
		}
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return nil // gone since the listing
	case err != nil:
		t.files = append(t.files, file{rel: rel, err: err, stamp: stamp{err: err.Error()}})
		return nil
	case info.IsDir():
		id := inodeOf(info)
		if slices.Contains(above, id) {
			t.skipped = append(t.skipped, rel)
			return nil // a link to a directory that holds it
		}
		if len(above) >= maxDepth {
			t.bad[rel] = fmt.Errorf("more than %d directories deep", maxDepth)
			return nil
		}
		return r.dir(ctx, t, rel, append(slices.Clip(above), id))
	case !manifestName(e.Name()):
		t.skipped = append(t.skipped, rel)
		return nil
	}
	return r.file(t, rel)
}

// file reads one file. Its error ends the whole read.
func (r *reader) file(t *tree, rel string) error {
	if len(t.files) >= maxFiles {
		return fmt.Errorf("%w: more than %d files", errTooMany, maxFiles)
	}
	f := file{rel: rel}
	var data []byte
	data, f.stamp, f.err = readFile(filepath.Join(r.root, rel))
	if errors.Is(f.err, fs.ErrNotExist) {
		if _, err := os.Lstat(filepath.Join(r.root, rel)); errors.Is(err, fs.ErrNotExist) {
			return nil // gone since the listing
		}
	}
	if f.err != nil {
		f.stamp.err = f.err.Error()
	} else {
		if t.total += int64(len(data)); t.total > maxTotal {
			return fmt.Errorf("%w: more than %d MiB", errTooMany, maxTotal>>20)
		}
		f.stamp.hash = sha256.Sum256(data)
		if hash, ok := r.known(rel); !ok || hash != f.stamp.hash {
			f.data = data
		}
	}
	t.files = append(t.files, f)
	return nil
}

// readFile returns the content. O_NONBLOCK keeps a FIFO that is named like a manifest from stopping the source for ever.
func readFile(path string) (_ []byte, st stamp, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // #nosec G304 -- the operator names the directory
	if err != nil {
		return nil, st, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, st, err
	}
	st = stamp{id: inodeOf(info), size: info.Size(), mtime: info.ModTime().UnixNano()}
	if !info.Mode().IsRegular() {
		return nil, st, &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, st, err
	}
	if len(data) > maxFile {
		return nil, st, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("larger than %d MiB", maxFile>>20)}
	}
	return data, st, nil
}

// ignoredName tells names that are never read: hidden files, editors' locks, auto-saves and backups.
func ignoredName(base string) bool {
	return strings.HasPrefix(base, ".") || strings.HasPrefix(base, "#") || strings.HasSuffix(base, "~")
}

// manifestName tells whether a file of that name is read.
func manifestName(base string) bool {
	if ignoredName(base) {
		return false
	}
	switch filepath.Ext(base) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}
