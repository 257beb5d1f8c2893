package dir

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// maxLinks bounds how many symbolic links one path may go through (what Linux itself allows).
const maxLinks = 40

// watched is one directory under watch.
type watched struct {
	path   string
	inTree bool // part of the tree, not only the place of a link
	seen   bool // reached by the current read under path
	alive  bool // reached by the current read
}

// watcher keeps an inotify watch on every directory that can change what the tree says: those of the tree, those that links lead
// through and the one that holds the root. Not for concurrent use, except that events arrive by themselves.
type watcher struct {
	log    *slog.Logger
	fsw    *fsnotify.Watcher // nil: no notifications to be had
	dirs   map[inode]*watched
	paths  map[string]inode
	links  map[string]bool // base names that links go through
	blind  bool            // the current read began to watch something
	failed bool            // something can't be watched
}

func newWatcher(log *slog.Logger) *watcher {
	w := &watcher{log: log}
	w.open()
	return w
}

// open begins anew, with nothing watched.
func (w *watcher) open() {
	w.dirs, w.paths, w.links = map[inode]*watched{}, map[string]inode{}, map[string]bool{}
	fsw, err := fsnotify.NewWatcher()
	if err != nil {
		w.fail("", err)
		return
	}
	w.fsw = fsw
}

func (w *watcher) close() {
	if w.fsw == nil {
		return
	}
	if err := w.fsw.Close(); err != nil {
		w.log.Warn("closing the file notifications failed", "error", err)
	}
	w.fsw = nil
}

func (w *watcher) fail(path string, err error) {
	if !w.failed {
		w.log.Warn("no file notifications: changes are found by polling", "path", path, "error", err)
	}
	w.failed = true
}

// events and errors are nil channels, which never deliver, without notifications.
func (w *watcher) events() <-chan fsnotify.Event {
	if w.fsw == nil {
		return nil
	}
	return w.fsw.Events
}

func (w *watcher) errors() <-chan error {
	if w.fsw == nil {
		return nil
	}
	return w.fsw.Errors
}

// begin precedes a read.
func (w *watcher) begin() {
	w.blind = false
	clear(w.links)
	for _, d := range w.dirs {
		d.seen, d.alive, d.inTree = false, false, false
	}
}

// end follows a read. It forgets what is gone; a directory that was moved within the tree keeps its inode, and so the kernel its
// watch, under a name that is no longer true: then all begins anew and the next read sets the watches.
func (w *watcher) end() (blind, moved bool) {
	for id, d := range w.dirs {
		switch {
		case d.seen:
		case d.alive || w.paths[d.path] != id:
			moved = true
		default:
			w.forget(id, d)
		}
	}
	if moved {
		w.close()
		w.open()
	}
	return w.blind, moved
}

func (w *watcher) forget(id inode, d *watched) {
	delete(w.dirs, id)
	delete(w.paths, d.path)
	if w.fsw == nil {
		return
	}
	if err := w.fsw.Remove(d.path); err != nil && !errors.Is(err, fsnotify.ErrNonExistentWatch) {
		w.log.Debug("ending a watch failed", "path", d.path, "error", err)
	}
}

func (w *watcher) entering(path string, id inode) { w.add(path, id, true) }

func (w *watcher) add(path string, id inode, inTree bool) {
	if w.fsw == nil {
		return
	}
	d, ok := w.dirs[id]
	if !ok {
		if err := w.fsw.Add(path); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				w.fail(path, err)
			}
			return
		}
		d = &watched{path: path}
		w.dirs[id], w.paths[path], w.blind = d, id, true
	}
	d.alive = true
	d.inTree = d.inTree || inTree
	d.seen = d.seen || d.path == path
}

// following watches every directory in which a link of the path, or its final target, has its name.
func (w *watcher) following(path string) {
	var resolved string
	rest := path
	for range maxLinks {
		resolved, rest = "/", strings.TrimPrefix(rest, "/")
		again := false
		for rest != "" && !again {
			var name string
			name, rest, _ = strings.Cut(rest, "/")
			next := filepath.Join(resolved, name)
			target, err := os.Readlink(next)
			switch {
			case err == nil:
				w.name(resolved, name)
				if !filepath.IsAbs(target) {
					target = filepath.Join(resolved, target)
				}
				rest, again = filepath.Join(target, rest), true
			case errors.Is(err, fs.ErrNotExist) || rest == "":
				w.name(resolved, name)
				rest = ""
			}
			resolved = next
		}
		if !again {
			return
		}
	}
}

// name watches one name in dir.
func (w *watcher) name(dir, base string) {
	w.links[base] = true
	if info, err := os.Stat(dir); err == nil {
		w.add(dir, inodeOf(info), false)
	}
}

// relevant tells whether the event can change what a read finds, and whether a directory may have appeared.
func (w *watcher) relevant(ev fsnotify.Event) (yes, appeared bool) {
	parent, base := filepath.Split(ev.Name)
	if w.links[base] {
		return true, ev.Has(fsnotify.Create)
	}
	id, ok := w.paths[filepath.Clean(parent)]
	if d := w.dirs[id]; !ok || d == nil || !d.inTree {
		_, self := w.paths[ev.Name]
		return self && ev.Has(fsnotify.Remove|fsnotify.Rename), false
	}
	switch {
	case ignoredName(base):
		return false, false
	case manifestName(base):
		return true, false
	}
	return ev.Has(fsnotify.Create | fsnotify.Remove | fsnotify.Rename), ev.Has(fsnotify.Create)
}
